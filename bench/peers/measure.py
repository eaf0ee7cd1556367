"""Measuring one peer on one job, and Penstock and the stock Faust app in the same terms."""

import secrets
from importlib.metadata import version

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from bench import process_jobs, stock_job
from bench.answers import read_all
from bench.bed import Bed, fill, new_prefix
from bench.events import BEGIN_MS, DEVICES, ORDERS_A_SECOND, Load, load_of
from bench.peers.catalog import Peer
from bench.peers.judge import Verdict, given_answers, judge, true_answers
from bench.peers.outcome import Outcome
from bench.peers.task import Task
from bench.report import Figure
from bench.watch import Watched
from penstock.contracts import load_contracts
from penstock.schema_ids import schema_ids
from penstock.topics import BY_NAME, PARTITIONS
from testbed.processes import PartError

EVENTS_A_SECOND = {"orders": ORDERS_A_SECOND, "telemetry": DEVICES}
_RECORDS = {"orders": "OrderPlaced", "telemetry": "ReadingTaken"}


class Ground:
    """A job's topic, filled, and its truth."""

    def __init__(self, bed: Bed, job: str, events: int) -> None:
        self.bed, self.job = bed, job
        self.prefix = new_prefix(job)
        bed.create_topics(self.prefix)
        settings = bed.settings(self.prefix)
        self.load: Load = load_of(job, events, schema_ids(settings))
        self.topic = BY_NAME[job].full_name(settings)
        self.truth = true_answers(job, self.load.truth)
        self._versions = 0
        fill(settings, self.load)

    @property
    def newest_ms(self) -> int:
        """Return an event time that the log has passed everywhere."""
        return BEGIN_MS + len(self.load.events) * 1_000 // EVENTS_A_SECOND[self.job]

    def next_version(self) -> int:
        """Return a pipeline version that nobody had."""
        self._versions += 1
        return self._versions


def measure(ground: Ground, peer: Peer) -> Outcome:
    """Let a peer do the job. Raises :class:`PartError` when it fails, its subclass when it can't be had here."""
    bed = ground.bed
    command = peer.command(ground.job, bed.folder)
    task = _task(ground)
    environment = bed.environment(ground.prefix) | peer.environment(task)
    with bed.watch(f"peer-{peer.name.split()[0].lower()}", command, environment) as watched:
        code = watched.wait()
    if code:
        raise PartError(f"{peer.name} ended with code {code}\n{watched.said_last()}")
    given = given_answers(ground.job, read_all(bed.settings(""), task.out).values)
    verdict = judge(ground.truth, given, ground.newest_ms)
    figure = _figure(peer.name, ground, watched)
    return Outcome(peer.name, peer.version(), ground.job, figure, verdict, peer.settings, _told(watched))


def penstock(ground: Ground, variant: str) -> Outcome:
    """Let Penstock do it, on the same topic, by :mod:`bench.process_jobs`: it raises when an answer is not right."""
    figure = process_jobs.measure(ground.bed, ground.prefix, ground.next_version(), ground.load, variant)
    return Outcome(
        f"Penstock, {variant}",
        "this tree",
        ground.job,
        figure,
        _perfect(len(ground.truth), len(ground.load.events)),
        "one worker; exactly once: duplicates, lateness, books and frontier commits on; final windows",
    )


def stock_faust(bed: Bed, job: str, events: int) -> Outcome:
    """Let the stock Faust app do it on a topic of its own: it knows neither LZ4 nor heartbeats."""
    prefix = new_prefix("ids")
    bed.create_topics(prefix)
    load = load_of(job, events, schema_ids(bed.settings(prefix)))
    figure = stock_job.measure(bed, load)
    groups = len(true_answers(job, load.truth))
    settings = "at least once, in-memory table with changelog, relative_to_field; a table does not drop late events"
    return Outcome("stock Faust", version("faust-streaming"), job, figure, _perfect(groups, events), settings)


def _perfect(groups: int, events: int) -> Verdict:
    return Verdict(right=groups, wrong=0, missing=0, open=0, counted=events, due=events)


def _task(ground: Ground) -> Task:
    bed, name = ground.bed, f"bench-{secrets.token_hex(4)}"
    out = f"{name}-answers"
    config = {"message.timestamp.type": "LogAppendTime"}
    admin = AdminClient({"bootstrap.servers": bed.kafka})
    for future in admin.create_topics([NewTopic(out, PARTITIONS, 1, config=config)]).values():
        future.result(30)
    folder = bed.folder / name
    folder.mkdir()
    ids = schema_ids(bed.settings(ground.prefix))
    return Task(
        job=ground.job,
        broker=bed.kafka,
        topic=ground.topic,
        out=out,
        group=name,
        records=len(ground.load.events) + PARTITIONS,
        heartbeats=PARTITIONS,
        schema_id=ids.id_of(load_contracts()[_RECORDS[ground.job]], BY_NAME[ground.job]),
        registry=bed.registry,
        folder=str(folder),
    )


def _figure(name: str, ground: Ground, watched: Watched) -> Figure:
    begin, end = watched.logged_at("begin"), watched.logged_at("end")
    if begin is None or end is None:
        raise PartError(f"{name} never said when it began or ended\n{watched.said_last()}")
    idle_s = float(watched.logged("end").get("idle_s", 0))
    events = len(ground.load.events)
    cpu, rss = watched.cpu_between(begin, end), watched.peak_rss_bytes() / 2**20
    return Figure(f"process {ground.job}", name, events, end - begin - idle_s, cpu, rss)


def _told(watched: Watched) -> str:
    words = {name: value for name, value in watched.logged("told").items() if isinstance(value, int)}
    return ", ".join(f"{value:,} {name}" for name, value in words.items() if value)
