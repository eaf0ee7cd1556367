"""Bars as SVG: pure, standard library alone."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 860
_LEFT, _RIGHT = 230, 250
_BAR, _GAP, _TITLE = 22, 8, 34
_RIGHT_COLOUR, _WRONG_COLOUR, _INK, _FAINT = "#2f6f9f", "#c8553d", "#1b1f23", "#57606a"
_FONT = "font-family='system-ui, sans-serif'"


class Bar(NamedTuple):
    """One bar; ``note`` stands behind its number."""

    label: str
    value: float
    right: bool
    note: str = ""


def bars(title: str, panels: Sequence[tuple[str, Sequence[Bar]]], footer: str) -> str:
    """Return a drawing of the panels below each other, all on one linear scale that begins at 0."""
    most = max((bar.value for _, drawn in panels for bar in drawn), default=0.0) or 1.0
    body, y = [_text(12, 28, title, size=17, weight=600)], 44
    for heading, drawn in panels:
        body.append(_text(12, y + 20, heading, size=13, weight=600))
        y += _TITLE
        for bar in drawn:
            body += _bar(bar, y, most)
            y += _BAR + _GAP
        y += 6
    body.append(_text(12, y + 16, "red: not all answers were right", size=11, colour=_FAINT))
    body.append(_text(12, y + 32, footer, size=11, colour=_FAINT))
    height = y + 46
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'"
    label = f"role='img' aria-label='{escape(title, quote=True)}'"
    ground = f"<rect width='{WIDTH}' height='{height}' fill='white'/>"
    return "\n".join([f"{head} {label}>", ground, *body, "</svg>", ""])


def _bar(bar: Bar, y: int, most: float) -> list[str]:
    width = max(1.0, bar.value / most * (WIDTH - _LEFT - _RIGHT))
    colour = _RIGHT_COLOUR if bar.right else _WRONG_COLOUR
    number = f"{bar.value:,.0f}" + (f" · {bar.note}" if bar.note else "")
    middle = y + _BAR - 7
    return [
        _text(_LEFT - 8, middle, bar.label, size=12, anchor="end"),
        f"<rect x='{_LEFT}' y='{y}' width='{width:.1f}' height='{_BAR}' fill='{colour}'/>",
        _text(round(_LEFT + width + 6), middle, number, size=12),
    ]


def _text(x: int, y: int, text: str, *, size: int, weight: int = 400, anchor: str = "start", colour: str = _INK) -> str:
    style = f"font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' fill='{colour}'"
    return f"<text x='{x}' y='{y}' {_FONT} {style}>{escape(text)}</text>"
