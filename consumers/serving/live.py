"""The state that the live page shows, read by and by: what moved, and no more often than it is cheap."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from consumers.serving.look import Look
from consumers.serving.patches import difference
from consumers.serving.sections import SECTIONS, Section

REST_FACTOR = 20
"""A section is read again when this many times the time has passed that reading it took: at most a twentieth of a
connection's time goes to each, however large its tables have become."""

Positions = dict[str, tuple[tuple[str, int, str, int], ...]]
"""By view: the topics, partitions, topic ids and next offsets that it was built from."""


class Live:
    """The state as of the last :meth:`refresh`, and where in the log that is."""

    def __init__(
        self, sections: Sequence[Section] = SECTIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sections, self._clock = sections, clock
        self._read_at: dict[str, Any] = {}
        self._due: dict[str, float] = {}
        self.state: dict[str, Any] = {}
        self.position = 0
        """The sum of all next offsets: it grows with each batch that is merged."""

    def refresh(self, look: Look) -> dict[str, Any]:
        """Read what moved and is due; return the merge patch of the state, empty if nothing that is shown changed."""
        positions = _positions(look)
        after = {name: self.state[name] for name in self.state if name == "trouble"}
        for section in self._sections:
            if all(look.has(view) for view in section.views):
                after[section.name] = self._section(section, look, positions)
        patch = difference(self.state, after)
        self.state = after
        self.position = sum(step[3] for steps in positions.values() for step in steps)
        return patch

    def trouble(self, why: str | None) -> dict[str, Any]:
        """Say that the database can't be read, or (None) that it can; return the merge patch."""
        after = {name: value for name, value in self.state.items() if name != "trouble"}
        if why is not None:
            after["trouble"] = why
        patch = difference(self.state, after)
        self.state = after
        return patch

    def _section(self, section: Section, look: Look, positions: Positions) -> dict[str, Any]:
        known = [look.shown.get(view) for view in section.views]
        place = (known, [positions.get(view) for view in (*section.views, *section.moved_by)])
        began = self._clock()
        if section.name in self.state and (self._read_at[section.name] == place or began < self._due[section.name]):
            kept: dict[str, Any] = self.state[section.name]
            return kept
        found = section.read(look)
        ended = self._clock()
        self._read_at[section.name] = place
        self._due[section.name] = ended + REST_FACTOR * (ended - began)
        return found


def _positions(look: Look) -> Positions:
    found: dict[str, list[tuple[str, int, str, int]]] = {}
    for view, *step in look.offsets():
        found.setdefault(view, []).append(tuple(step))  # type: ignore[arg-type]
    return {view: tuple(steps) for view, steps in found.items()}
