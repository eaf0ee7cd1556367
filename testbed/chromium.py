"""A real browser: Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from testbed.processes import PartUnavailableError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# It runs without the sandbox, as root may, and asks nobody outside for anything.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_TIMEOUT_MS = 120_000


def missing() -> str | None:
    """Why there is no browser here, and how to get it; None when there is one."""
    if shutil.which("chromium") is None:
        return "Chromium: no chromium in PATH. Install it (Debian: apt-get install chromium)"
    return None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser while the block runs. Raises :class:`PartUnavailableError` when there is none."""
    from playwright.sync_api import sync_playwright

    reason = missing()
    if reason is not None:
        raise PartUnavailableError(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS), timeout=START_TIMEOUT_MS
        )
        try:
            yield browser
        finally:
            browser.close()
