"""What a scenario's play came to, in numbers; written as it is to ``results.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["proved", "stopped as promised", "failed"]


@dataclass
class Result:
    """Counts of one play.

    ``kills``: SIGKILLs of our stages, at random or by failpoint; ``part_kills``: of brokers and databases;
    ``zombies``: stages frozen for longer than their session and woken up; ``stops``: orderly ends (SIGTERM);
    ``faults``: all other faults; ``restarts``: starts by the supervisor; ``recoveries_s``: by what was hurt, seconds
    from the kill (for parts: from the moment when they were back) until all that the log held then was settled.
    ``lost`` and ``doubled`` are events, None where the end is a loud stop and there is no proof.
    """

    name: str
    kind: str
    fault: str
    seed: str
    database: str
    outcome: Outcome = "failed"
    error: str = ""
    rounds: int = 0
    events: int = 0
    kills: int = 0
    part_kills: int = 0
    zombies: int = 0
    stops: int = 0
    faults: int = 0
    restarts: int = 0
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    """Ends that nobody asked for, by stage and exit code."""
    lost: int | None = None
    doubled: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    """What ``lost`` and ``doubled`` were computed from."""
    seconds: float = 0.0
    folder: str = ""

    def recovered(self, what: str, seconds: float) -> None:
        """Add a recovery time."""
        self.recoveries_s.setdefault(what, []).append(round(seconds, 3))

    def ended(self, stage: str, code: int | None) -> None:
        """Count an end that nobody asked for."""
        key = f"{stage}: {code}"
        self.exits[key] = self.exits.get(key, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Result:
        """Read what :meth:`as_json` returned. Raises TypeError for what is none."""
        return cls(**raw)
