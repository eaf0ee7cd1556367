"""Commands that send a known number of events show how far they are, on a terminal only."""

import re
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import build_app

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "online-retail").glob("*.csv"))
BAR = re.compile(r"━+.*\d+/\d+")
COMMANDS = (
    ("replay", "online-retail", *map(str, SAMPLES)),
    ("produce", "telemetry", "--count", "2000", "--seed", "1"),
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, embedded: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", embedded.bootstrap_servers)
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    monkeypatch.setenv("PENSTOCK_TOPIC_PREFIX", f"{tmp_path.name}-")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        build_app()(list(arguments), prog_name="penstock")
    assert ended.value.code == 0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_shows_how_much_is_sent_and_keeps_the_log_lines(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    run(*command)
    shown = capsys.readouterr()
    assert BAR.search(shown.err)
    assert "producing" in shown.err
    assert not BAR.search(shown.out)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_terminal_there_is_no_bar(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    run(*command)
    shown = capsys.readouterr()
    assert not BAR.search(shown.err)
    assert "records acknowledged" in shown.out
