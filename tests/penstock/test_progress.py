"""The bar stands on standard error, and only on a terminal."""

import pytest

from penstock.progress import shown_on_stderr


def advance() -> None:
    with shown_on_stderr() as progress:
        progress.begin(200)
        progress.advance(150, "orders/3")


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    advance()
    shown = capsys.readouterr()
    assert "orders/3" in shown.err
    assert "150/200" in shown.err
    assert shown.out == ""


def test_what_is_no_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    advance()
    assert capsys.readouterr().err == ""
