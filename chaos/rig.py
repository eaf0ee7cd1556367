"""What a scenario plays on: a pipeline of its own on real parts, the faults of its processes, and the proof at its end.

How a scenario uses it is told in :mod:`chaos.scenario`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from typing import Any

from chaos.crew import Member
from chaos.ground import DEADLINE_S, SETTLE_TIMEOUT_S, Ground, Shared
from chaos.proof import compare, read_acks, read_log, shown
from chaos.watch import Away, reached
from penstock.topics import SOURCES
from testbed.processes import wait_until

__all__ = ["Rig", "Shared"]

ZOMBIE_S = 8.0
"""How long a stage is frozen to make it a zombie: longer than its session lasts."""

POISONED_PARTITIONS = 2


class Rig(Ground):
    """A pipeline under load that is hurt, and proves itself."""

    def kill(self, name: str) -> None:
        """SIGKILL a stage; it is started again at once, and its recovery is measured from now.

        Told apart are stages that did their work, and those that were still starting, whose partitions others have.
        """
        side = self.crew.members[name].side
        what = f"{side} killed at work" if self.crew.works(name) else f"{side} killed while starting"
        if side == "producers":
            at, self.truth.exact = time.monotonic(), False
            self.crew.kill(name)  # first, or what is under way would pass for what its next life sends
            self._mark(what, side, at=at)
        else:
            self._mark(what, side)
            self.crew.kill(name)

    def pause(self, name: str) -> None:
        """SIGSTOP a stage; the recovery of what it did is measured from now."""
        side = self.crew.members[name].side
        self._mark(f"{side} frozen", side)
        self.crew.pause(name)

    def resume(self, name: str) -> None:
        """SIGCONT a stage that was frozen for longer than its session: a zombie."""
        member = self.crew.members[name]
        if member.paused and member.running:
            self.result.zombies += 1
        self._mark(f"{member.side} woken up", member.side)
        self.crew.resume(name)

    def die_at(self, name: str, *points: tuple[str, int]) -> None:
        """Have the next lives of a stage end at failpoints, each at the Nth passing; this life ends by SIGTERM."""
        lives = [{"PENSTOCK_FAILPOINTS": f"{point}=kill@{passing}"} for point, passing in points]
        self.crew.members[name].once += lives
        self.restart(name)

    def leave(self, name: str, codes: Sequence[int] = (0,)) -> None:
        """SIGTERM a stage, for good."""
        side = self.crew.members[name].side
        self._mark(f"{side} stopped", side)
        self.crew.remove(name, codes=codes)

    def restart(self, name: str, codes: Sequence[int] = (0,)) -> None:
        """SIGTERM a stage and start it again."""
        member = self.crew.members[name]
        self.leave(name, codes)
        again = Member(name, member.command, member.words, member.environment, member.once, member.lives)
        self.crew.add(again)
        self.result.restarts += 1

    def send_poison(self, count: int) -> None:
        """Send ``count`` records that can't be used to partitions of both source topics, at once."""
        for topic in SOURCES:
            for partition in range(POISONED_PARTITIONS):
                share = count // len(SOURCES) // POISONED_PARTITIONS
                self.pipeline.send_raw(topic.name, (poison(self._rng) for _ in range(share)), partition)
                self.truth.add(self.pipeline.prefix + topic.name, {"dead": share})
        self.fault()

    def verify(self) -> None:
        """Run ``penstock verify`` while all goes on; fails unless all is proved."""
        self.pipeline.verify()

    def fault(self, count: int = 1, *, part_kills: int = 0) -> None:
        """Count a fault that the rig did not do itself, and kills of parts (broker, database) among them."""
        self.result.faults += count
        self.result.part_kills += part_kills

    def finish(self, *, by_fate: bool = True) -> None:
        """Stop the load, close all panes, wait until all is settled, prove it and stop all stages.

        ``by_fate``: the injected margins make each fate certain; else only the totals are held against the books.
        """
        self.stop_load()
        self._close_panes()
        self.wait_for(self._all_settled, "all is settled at the end", SETTLE_TIMEOUT_S)
        self.wait_for(lambda: all(mark.took_s is not None for mark in self._marks), "all has recovered")
        verdict = self.pipeline.verify()
        self._prove(verdict, by_fate=by_fate)
        for name in self.names():
            self.crew.remove(name)
        self.result.outcome = "proved"

    def _close_panes(self) -> None:
        self.send("produce", "all", "--count", "0")

    def _all_settled(self) -> bool:
        try:
            ends = self.gauge.ends()
            return reached(self.gauge.ends(sources_only=True), self.gauge.folded()) and reached(
                ends, self.gauge.merged()
            )
        except Away:
            return False

    def _prove(self, verdict: dict[str, Any], *, by_fate: bool) -> None:
        assert not any(book["imbalance"] for book in verdict["books"]), "the books do not balance"
        ends = self.gauge.ends(sources_only=True)
        acks = read_acks(file for file in self._acks if file.exists())
        log = read_log(self.pipeline.parts.bootstrap_servers, ends)
        views = {self.pipeline.prefix + topic.name: shown(self.pipeline, topic.name) for topic in SOURCES}
        found = compare(self.truth, acks, log, self.gauge.frontiers(), views, by_fate=by_fate)
        self.result.lost, self.result.doubled = found.lost, found.doubled
        self.result.events = log.height
        self.result.figures = {
            "acknowledged": self.truth.acknowledged, "acknowledgements read back": acks.height, "log": log.height,
            "settled": sum(book["position"] - book["start"] for book in verdict["books"]),
            "rows compared": verdict["rows"], "truth is exact": self.truth.exact,
            "too few": found.too_few, "too many": found.too_many, "missing": found.missing,
            "unsettled": found.unsettled, "unknown": found.unknown,
        }  # fmt: skip
        assert found.lost == found.doubled == 0, f"lost {found.lost}, doubled {found.doubled}: {self.result.figures}"

    def stopped_as_promised(self, *said: str, names: Sequence[str] = (), timeout: float = DEADLINE_S) -> None:
        """Wait until ``names`` (none: any stage) stopped with exit code 4 and said each of ``said``; stop the rest."""
        stopped = self.crew.stopped

        def done() -> bool:
            return set(names) <= stopped.keys() if names else bool(stopped)

        wait_until(done, timeout, f"a loud stop (logs in {self.folder})")
        for name in names or list(stopped):
            for text in said:
                assert text in stopped[name].log, f"{name} did not say {text!r}:\n{stopped[name].log[-3_000:]}"
        stopped.clear()
        self._marks.clear()
        self.result.outcome = "stopped as promised"


def poison(rng: Random) -> tuple[str, bytes]:
    """Return a key and bytes that no contract reads: no wire format, a foreign schema, or nothing at all."""
    foreign = b"\0" + rng.randrange(2_000_000_000, 2_000_001_000).to_bytes(4, "big") + rng.randbytes(20)
    return f"poison-{rng.randrange(100)}", rng.choice((b"", b"\1" + rng.randbytes(30), foreign))
