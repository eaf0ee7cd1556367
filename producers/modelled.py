"""`penstock produce`: the models on a schedule."""

from dataclasses import dataclass
from functools import partial

from penstock.settings import Settings
from penstock.topics import BY_NAME, Topic
from producers import workload_orders, workload_telemetry
from producers.chance import stream_of
from producers.events import PartitionOf, Workload
from producers.faults import Faults
from producers.partitions import partitions_of
from producers.rows import Encoders
from producers.run import Clock, Feed, wall_clock
from producers.session import Session, produce
from producers.sources import Modelled, Schedule
from producers.stream import Pulse, Stream
from producers.truth import TopicTruth

DEFAULT_RATE = 200.0
"""Events a second of a paced run, in all."""

DEFAULT_DENSITY = 1_000.0
"""Events a second of event time when they are sent as fast as it goes, in all."""

TOPICS = (workload_orders.TOPIC, workload_telemetry.TOPIC)


NO_FAULTS = Faults()


@dataclass(frozen=True)
class Plan:
    """What to produce. Rate and count are of the whole run, shared evenly by its topics."""

    topics: tuple[str, ...]
    seed: int
    rate: float | None = None
    count: int | None = None
    duration_ms: int | None = None
    faults: Faults = NO_FAULTS
    devices: int = 100
    customers: int = 10_000

    @property
    def paced(self) -> bool:
        """Whether events go out when they happen; else as fast as it goes, their times up to now."""
        return self.count != 0 and (self.rate is not None or self.count is None)

    @property
    def density(self) -> float:
        """Events a second of event time, in all."""
        if self.paced:
            return self.rate or DEFAULT_RATE
        spread = self.duration_ms and self.count and self.count / (self.duration_ms / 1_000)
        return spread or DEFAULT_DENSITY

    def schedule(self, topic: str, now: int) -> Schedule:
        """Return when the events of ``topic`` happen, in a run that begins at ``now``."""
        share = len(self.topics)
        density = self.density
        count = None if self.count is None else (self.count + (topic == self.topics[0]) * (share - 1)) // share
        if self.paced:
            end = None if self.duration_ms is None else now + self.duration_ms
            return Schedule(now, density / share, count, end)
        return Schedule(now - round((self.count or 0) / density * 1_000), density / share, count)


def workload(topic: str, plan: Plan, placed: PartitionOf) -> Workload:
    """Return the model of ``topic``."""
    if topic == workload_orders.TOPIC:
        return workload_orders.OrderWorkload(plan.seed, plan.customers, placed)
    return workload_telemetry.TelemetryWorkload(plan.seed, plan.devices, placed)


def start(plan: Plan, session: Session, settings: Settings, clock: Clock = wall_clock) -> int:
    """Run ``plan`` to its end and return the exit code."""

    def make_feed(topic: Topic, truth: TopicTruth, encoders: Encoders) -> Feed:
        schedule = plan.schedule(topic.name, clock())
        model = workload(topic.name, plan, partial(partitions_of, partitions=truth.partitions))
        chance = stream_of(plan.seed, f"{topic.name}/faults")
        pulse = Pulse(workload_orders.SOURCE, now=clock if plan.paced else None)
        stream = Stream(truth, encoders, pulse, chance, plan.faults)
        return Feed(topic.full_name(settings), Modelled(model, schedule, encoders), stream, schedule.at(0))

    return produce(session, settings, make_feed, clock if plan.paced else None)


def topics_of(names: tuple[str, ...]) -> tuple[Topic, ...]:
    """Return the declarations of the topics called ``names``."""
    return tuple(BY_NAME[name] for name in names)
