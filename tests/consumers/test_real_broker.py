"""The stage on a real broker: topic ids, append times, groups, logs that lose records. Stepped by the test itself."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import CollectorRegistry

from consumers import materialization as module
from consumers.materialization import Materialization, decoders_of
from consumers.meters import Meters
from consumers.reader import Reader
from consumers.stores import Store, open_store
from penstock.contracts import Contract
from penstock.errors import ExitCode, ProtectiveStop, Unavailable
from penstock.health import Health
from penstock.pipeline import MAX_AHEAD_MS
from penstock.schema_ids import LockedIds, SchemaIds
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME, Topic, group_id
from testbed.java import QUICK_START
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.part import Part
from testbed.postgres import Postgres
from tests.consumers import builders
from tests.consumers.builders import Event, encode, read, views

PATIENCE_S = 60.0
TOPIC = BY_NAME["orders"]


class Bench:
    """Topic `orders` under a prefix of its own, and instances of the stage that keep the view of it."""

    def __init__(self, settings: Settings, connect: Callable[[], Store]) -> None:
        self.settings, self._connect = settings, connect
        self.topic = TOPIC.full_name(settings)
        self.admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
        order = {"max.in.flight.requests.per.connection": 1}  # tries again do not change it
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, **order})
        self._readers: list[Reader] = []
        self.create()

    def create(self) -> None:
        new = NewTopic(self.topic, num_partitions=4, replication_factor=1, config=TOPIC.config())
        for future in self.admin.create_topics([new]).values():
            future.result(PATIENCE_S)

    def delete(self) -> None:
        for future in self.admin.delete_topics([self.topic]).values():
            future.result(PATIENCE_S)

    def trim(self, partition: int, offset: int) -> None:
        for future in self.admin.delete_records([TopicPartition(self.topic, partition, offset)]).values():
            future.result(PATIENCE_S)

    def send(self, begin: int, count: int, **fields: Any) -> None:
        now = int(time.time() * 1000)
        for number in range(begin, begin + count):
            event: Event = builders.placed(f"o{number}", now, **{"amount_e4": number, **fields})
            self._producer.produce(self.topic, encode("orders", event), partition=number % 4)
        assert self._producer.flush(PATIENCE_S) == 0

    def start(self, ids: SchemaIds | None = None) -> Materialization:
        health, stopping = Health(), threading.Event()
        reader = Reader(self.settings, [TOPIC], group_id(self.settings, "consumers"), health)
        self._readers.append(reader)
        chosen = (views()["orders"],)
        stage = Materialization(
            self.settings, chosen, self._connect(), reader,
            decoders=decoders_of(self.settings, chosen, ids or LockedIds()),
            meters=Meters(CollectorRegistry(), chosen), health=health, stopping=stopping,
        )  # fmt: skip
        stage.begin(swap=False)
        return stage

    def step_until(self, condition: Callable[[], bool], *stages: Materialization) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            for stage in stages:
                stage.step()

    def close_reader(self) -> None:
        self._readers.pop(0).close()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.delete()


@pytest.fixture
def bench(kafka: KafkaBroker | ExternalKafka, database: str, connect: Callable[[], Store]) -> Iterator[Bench]:
    settings = load_settings(
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        database_url=database,
        topic_prefix=f"consumers-{uuid.uuid4().hex[:8]}-",
        commit_interval_s=0.05,
    )
    found = Bench(settings, connect)
    yield found
    found.close()


def merged(store: Store) -> int:
    return int(read(store, "offsets", "coalesce(sum(next), 0)")[0][0])


def test_two_instances_share_the_partitions_and_one_goes_on_alone(bench: Bench, connect: Callable[[], Store]) -> None:
    store = connect()
    bench.send(0, 100)
    first = bench.start()
    bench.step_until(lambda: merged(store) == 100, first)
    second = bench.start()
    shares = (first._reader, second._reader)
    bench.step_until(lambda: [len(reader.assigned) for reader in shares] == [2, 2], first, second)
    bench.send(100, 100)
    bench.step_until(lambda: merged(store) == 200, first, second)
    bench.close_reader()
    bench.send(200, 100)
    bench.step_until(lambda: merged(store) == 300, second)
    assert read(store, "orders", "count(*), sum(amount_e4)") == [(300, 300 * 299 // 2)]
    committed = TopicPartition(bench.topic, 0)
    bench.step_until(lambda: second._reader._consumer.committed([committed])[0].offset == 75, second)


def test_an_event_ahead_of_the_broker_s_time_is_skipped(bench: Bench, connect: Callable[[], Store]) -> None:
    store = connect()
    now = int(time.time() * 1000)
    bench.send(0, 4)
    bench.send(4, 4, occurred_at=now + MAX_AHEAD_MS + 60_000)
    stage = bench.start()
    bench.step_until(lambda: merged(store) == 8, stage)
    assert len(read(store, "orders")) == 4


def test_records_that_were_deleted_before_they_were_merged_stop_it(
    bench: Bench, connect: Callable[[], Store]
) -> None:
    store = connect()
    bench.send(0, 40)
    stage = bench.start()
    bench.step_until(lambda: merged(store) == 40, stage)
    bench.close_reader()
    bench.send(40, 40)
    bench.trim(2, 13)
    heir = bench.start()
    with pytest.raises(ProtectiveStop, match="log begins at offset 13, the view needs 10: 3 off") as caught:
        bench.step_until(lambda: False, heir)
    assert caught.value.exit_code == ExitCode.STOPPED


def test_a_topic_that_is_recreated_while_it_is_read_stops_it(
    bench: Bench, connect: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.2)
    store = connect()
    bench.send(0, 40)
    stage = bench.start()
    bench.step_until(lambda: merged(store) == 40, stage)
    bench.delete()
    bench.create()
    with pytest.raises(ProtectiveStop, match="recreated"):
        bench.step_until(lambda: False, stage)
    bench.close_reader()
    with pytest.raises(ProtectiveStop, match="the topic was recreated: its id is"):
        bench.step_until(lambda: False, bench.start())


class AwayAtFirst(LockedIds):
    """A registry that does not answer the first three times."""

    asked = 0

    def writer(self, schema_id: int, topic: Topic) -> Contract | None:
        self.asked += 1
        if self.asked <= 3:
            raise Unavailable("the registry is away")
        return super().writer(schema_id, topic)


def test_a_registry_that_is_away_is_waited_for_and_nothing_is_skipped(
    bench: Bench, connect: Callable[[], Store]
) -> None:
    store, ids = connect(), AwayAtFirst()
    bench.send(0, 40)
    stage = bench.start(ids)
    bench.step_until(lambda: merged(store) == 40, stage)
    assert read(store, "orders", "count(*), sum(amount_e4)") == [(40, 40 * 39 // 2)]
    assert ids.asked > 3


def test_a_postgres_that_goes_away_is_waited_for(
    kafka: KafkaBroker | ExternalKafka, start_part: Callable[[Part], None]
) -> None:
    postgres = Postgres()
    start_part(postgres)
    with postgres:
        settings = load_settings(
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            database_url=postgres.create_database("views"),
            topic_prefix=f"consumers-{uuid.uuid4().hex[:8]}-",
        )
        store = open_store(settings)
        bench = Bench(settings, lambda: open_store(settings))
        bench.send(0, 40)
        stage = bench.start()
        bench.step_until(lambda: merged(store) == 40, stage)
        store.close()
        postgres.kill()
        bench.send(40, 40)
        # The stage waits inside of a step, so the database comes back from another thread.
        away = threading.Timer(0.5, postgres.start)
        away.start()
        bench.step_until(lambda: not away.is_alive(), stage)
        bench.step_until(lambda: merged(store) == 80, stage)
        assert read(store, "orders", "count(*), sum(amount_e4)") == [(80, 80 * 79 // 2)]
        store.close()
        bench.close()


def test_a_broker_that_goes_away_turns_readiness_red_until_it_is_back(
    tmp_path: Path, start_part: Callable[[Part], None]
) -> None:
    broker = KafkaBroker(jvm_options=QUICK_START)
    start_part(broker)
    with broker:
        settings = load_settings(
            kafka_bootstrap_servers=broker.bootstrap_servers, database_url=f"sqlite:///{tmp_path}/views.db"
        )
        store = open_store(settings)
        bench = Bench(settings, lambda: open_store(settings))
        bench.send(0, 40)
        stage = bench.start()
        bench.step_until(lambda: merged(store) == 40, stage)
        assert stage._health.ready() == {}
        broker.kill()
        bench.step_until(lambda: "broker" in stage._health.ready(), stage)
        assert stage._health.live() == {}
        broker.start()
        bench.send(40, 40)
        bench.step_until(lambda: merged(store) == 80 and not stage._health.ready(), stage)
        assert read(store, "orders", "count(*), sum(amount_e4)") == [(80, 80 * 79 // 2)]
        bench.close()
        store.close()
