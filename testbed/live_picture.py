"""``python -m testbed.live_picture ADDRESS [FILE]``: take the picture of the live page that the README shows.

ADDRESS is that of a running ``penstock serve``; the demo prints its own. Waits until the page shows numbers and is OK.
"""

import sys
from pathlib import Path

from testbed.chromium import chromium

WIDTH, HEIGHT = 1360, 1000
PATIENCE_MS = 120_000
SETTLED_MS = 3_000
"""Time for the first drawings to be over."""


def take(address: str, file: Path, *, dark: bool = False) -> None:
    """Take the picture."""
    from playwright.sync_api import expect

    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#verdict-word")).to_have_text("OK", timeout=PATIENCE_MS)
        expect(page.locator("#devices li").first).to_be_visible(timeout=PATIENCE_MS)
        page.wait_for_timeout(SETTLED_MS)
        expect(page.locator("#verdict-word")).to_have_text("OK", timeout=PATIENCE_MS)
        page.screenshot(path=file)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m testbed.live_picture ADDRESS [FILE]")
    take(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "docs/live.png"))
