"""Making a failing schedule small: fewer faults, fewer records, fewer processes, as long as it still fails."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from simulation.plan import Plan
from simulation.schedule import Outcome, run


@dataclass(frozen=True)
class Cut:
    """What is left of a seed's plan; the options of the command that runs it."""

    without: frozenset[int] = frozenset()
    records: tuple[int, ...] | None = None
    processors: int | None = None
    keepers: int | None = None

    def of(self, plan: Plan) -> Plan:
        """Return the plan, cut down."""
        records = range(len(plan.operations)) if self.records is None else self.records
        return replace(
            plan,
            without=self.without,
            operations=tuple(plan.operations[number] for number in records),
            processors=self.processors or plan.processors,
            keepers=self.keepers or plan.keepers,
        )

    def options(self) -> str:
        """Return the options that say this."""
        said = [f"--without {','.join(map(str, sorted(self.without)))}"] if self.without else []
        said += [] if self.records is None else [f"--records {','.join(map(str, self.records)) or 'none'}"]
        said += [] if self.processors is None else [f"--processors {self.processors}"]
        said += [] if self.keepers is None else [f"--keepers {self.keepers}"]
        return " ".join(said)


def shrink(plan: Plan, cut: Cut, failed: Outcome, attempts: int = 300) -> tuple[Cut, Outcome]:
    """Return a smaller cut that fails as well, and its outcome: greedily, each part left out if it can be."""
    left = attempts

    def try_it(candidate: Cut) -> Outcome | None:
        nonlocal left
        left -= 1
        outcome = run(candidate.of(plan))
        return outcome if outcome.violations else None

    smaller = True
    while smaller and left > 0:
        smaller = False
        for candidate in _smaller(plan, cut, failed):
            if left <= 0:
                break
            outcome = try_it(candidate)
            if outcome is not None:
                cut, failed, smaller = candidate, outcome, True
                break
    return cut, failed


def _smaller(plan: Plan, cut: Cut, failed: Outcome) -> Iterator[Cut]:
    """Yield cuts that leave out more: processes, then halves, then single records and faults."""
    if (cut.processors or plan.processors) > 1:
        yield replace(cut, processors=1)
    if (cut.keepers or plan.keepers) > 1:
        yield replace(cut, keepers=1)
    records = list(range(len(plan.operations))) if cut.records is None else list(cut.records)
    faults = [fault.number for fault in failed.injected if fault.number not in cut.without]
    for size in _sizes(max(len(records), len(faults))):
        for begin in range(0, len(faults), size):
            yield replace(cut, without=cut.without | set(faults[begin : begin + size]))
        for begin in range(0, len(records), size):
            yield replace(cut, records=tuple(records[:begin] + records[begin + size :]))


def _sizes(count: int) -> Iterator[int]:
    size = count
    while size > 1:
        size = -(-size // 2)
        yield size
