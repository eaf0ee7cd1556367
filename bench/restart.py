"""``python -m bench.restart``: a worker is killed (SIGKILL) under 20,000 events/s, and another one takes over.

So that it has a minute of input to fold again, the log begins with events of the last 70 s, at the same rate; the kill
comes when the oldest open pane began at least 40 s ago. The new worker is started at once. Caught up means that less
than half a second of input is not folded, as its own metrics and the broker's log ends say.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench.bed import PENSTOCK, Bed, new_prefix, real_bed
from bench.live import LOOK_S, Books, producing
from bench.measured import Value
from bench.watch import Watched
from penstock.topics import PARTITIONS, SOURCES
from testbed.processes import LOOPBACK, free_port

RATE = 20_000
BACKLOG_S = 70
BEHIND_S = 0.5
_STEADY_S = 5.0
_EVERY_S = 0.05
_TOPICS = tuple(topic.name for topic in SOURCES)


class Worker(NamedTuple):
    """A worker and the address of its metrics."""

    watched: Watched
    url: str

    def reached(self) -> dict[tuple[str, int], int]:
        """Ask it how far it is, by topic and partition; nothing while it does not answer."""
        try:
            text = httpx.get(self.url, timeout=10).text
        except httpx.TransportError:
            return {}
        return {
            (sample.labels["topic"], int(sample.labels["partition"])): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "penstock_next_offset"
        }


def measure(bed: Bed, rate: int = RATE, behind_s: float = BEHIND_S) -> list[Value]:
    """Return how long it took until the new worker had caught up, its parts, and the rate of the refold."""
    prefix = new_prefix("restart")
    bed.create_topics(prefix)
    with Books(bed.settings(prefix), _TOPICS) as books:
        with producing(
            bed,
            prefix,
            "all",
            "--count",
            str(rate * BACKLOG_S),
            "--duration",
            f"{BACKLOG_S}s",
            "--no-close",
            "--seed",
            "1",
        ) as backlog:
            backlog.finish()
        with producing(bed, prefix, "all", "--rate", str(rate), "--no-close", "--seed", "2") as live:
            killed = _kill(bed, prefix, books, behind_s * rate)
            with _worker(bed, prefix, "restart-second") as second:
                values = _watch(second, books, killed, behind_s * rate)
                live.watched.stop()
                second.watched.wait_until(books.settled, "all events are settled")
        applied = books.check("restart", backlog.truth(), live.truth())
    return [*values, Value("restart: events, each applied once", applied, "events")]


def _kill(bed: Bed, prefix: str, books: Books, behind: float) -> float:
    """Let a worker catch up, kill it when there is much to fold again, and return when."""
    with _worker(bed, prefix, "restart-first") as first:
        first.watched.wait_until(lambda: _is_level(first.reached(), books, behind), "the first worker has caught up")
        steady = time.monotonic() + _STEADY_S

        def has_much_to_lose() -> bool:
            into_pane_s = time.time() % 60
            return time.monotonic() > steady and not 8 <= into_pane_s < 40

        first.watched.wait_until(has_much_to_lose, "the oldest open pane began long ago")
        return first.watched.kill()


@contextmanager
def _worker(bed: Bed, prefix: str, name: str) -> Iterator[Worker]:
    port = free_port()
    environment = bed.environment(prefix, PENSTOCK_HTTP_PORT=str(port))
    with bed.watch(name, [*PENSTOCK, "process"], environment, LOOK_S / 10) as watched:
        yield Worker(watched, f"http://{LOOPBACK}:{port}/metrics")


def _is_level(reached: dict[tuple[str, int], int], books: Books, behind: float) -> bool:
    return len(reached) == len(_TOPICS) * PARTITIONS and books.log_end() - sum(reached.values()) <= behind


def _watch(worker: Worker, books: Books, killed: float, behind: float) -> list[Value]:
    """Follow the second worker until it has caught up. Nobody commits before it has folded again what it must."""
    committed = books.committed()
    refolded_at: list[float] = []

    def caught_up() -> bool:
        time.sleep(_EVERY_S)
        reached = worker.reached()
        refolded = all(reached.get(tp, 0) > frontier.position for tp, (_, frontier) in committed.items())
        if refolded and not refolded_at:
            refolded_at.append(time.time())
        return refolded and _is_level(reached, books, behind)

    worker.watched.wait_until(caught_up, "the second worker has caught up")
    done, assigned = time.time(), worker.watched.logged_at("assigned")
    if assigned is None:
        raise RuntimeError("the second worker never said which partitions it has")
    events = sum(frontier.position - offset for offset, frontier in committed.values())
    seconds, cpu_s = refolded_at[0] - assigned, worker.watched.cpu_between(assigned, refolded_at[0])
    return [
        Value("restart: kill to caught up", done - killed, "s"),
        Value("restart: of it, until the group gave the partitions", assigned - killed, "s", "session timeout 6 s"),
        Value("restart: of it, catching up", done - assigned, "s"),
        Value("restart: refold rate", events / seconds, "events/s", f"{events:,} events in {seconds:.2f} s"),
        Value("restart: refold rate per CPU second", events / cpu_s, "events/CPU s"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.restart", description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second (default {RATE})")
    parser.add_argument("--behind", type=float, default=BEHIND_S, help="seconds of input that may lack (default 0.5)")
    options = parser.parse_args(arguments)
    with real_bed(postgres=False) as bed:
        print("\n".join(map(str, measure(bed, options.rate, options.behind))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
