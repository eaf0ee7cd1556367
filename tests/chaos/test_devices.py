"""What the scenarios do their damage with: a disk that is full, a build that is newer, a clock that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from chaos import skewed_producer, small_disk
from chaos.newer_build import NEW_FIELD, REPOSITORY, make_newer_build
from chaos.small_disk import SmallDisk
from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME, PARTITIONS
from producers.run import wall_clock

HOUR_MS = 3_600_000
WRITER = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for _ in sys.stdin:
        try:
            print("wrote", file.write(bytes(4096)), flush=True)
        except OSError as error:
            print("refused", error.errno, flush=True)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Callable[[Path], subprocess.Popen[str]]:
    """Starts a process that writes 4,096 bytes to a file for each line that it gets, and says how it went."""

    def start(file: Path) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", WRITER, str(file)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    return start


def outcome_of_a_write(writer: subprocess.Popen[str]) -> str:
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("\n")
    writer.stdin.flush()
    return writer.stdout.readline().split()[0]


@pytest.mark.parametrize("mountable", [True, False])
def test_a_small_disk_refuses_writes_while_it_is_full_and_takes_them_when_it_is_emptied(
    tmp_path: Path,
    writer: Callable[[Path], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    mountable: bool,
) -> None:
    if not mountable:
        monkeypatch.setattr(small_disk, "_mounted", lambda _path, _size_mb: False)
    with SmallDisk(tmp_path / "disk", size_mb=1) as disk:
        file = disk.path / "views.db"
        with writer(file) as child:
            assert outcome_of_a_write(child) == "wrote"
            disk.fill(file, child.pid)
            assert outcome_of_a_write(child) == "refused"
            disk.empty()
            assert outcome_of_a_write(child) == "wrote"
            child.communicate(timeout=10)


def test_a_newer_build_is_compatible_and_knows_a_field_that_this_one_does_not(tmp_path: Path) -> None:
    newer = make_newer_build(tmp_path / "newer")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(newer), str(REPOSITORY)))}
    for words in (("schemas", "lock"), ("schemas", "check")):
        subprocess.run(
            [sys.executable, "-m", "penstock", *words], cwd=tmp_path, env=environment, timeout=60, check=True
        )
    locked = json.loads((newer / "avro_schemas" / "lock.json").read_text())["schemas"]
    theirs = [entry["schema"] for entry in locked if entry["name"] == "OrderPlaced"]
    ours = load_contracts()["OrderPlaced"].schema
    assert NEW_FIELD in theirs[-1]["fields"]
    assert NEW_FIELD not in ours["fields"]


@pytest.mark.parametrize("skew_ms", [HOUR_MS, -HOUR_MS])
def test_a_skewed_producer_tells_times_that_are_off_by_the_skew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew_ms: int
) -> None:
    host = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = host.list_topics(timeout=10).brokers.values()
    address = f"{broker.host}:{broker.port}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    monkeypatch.setenv("PENSTOCK_HTTP_PORT", "0")
    monkeypatch.setenv("PENSTOCK_TOPIC_PREFIX", "skewed-")
    truth = tmp_path / "truth.json"
    began = wall_clock()
    words = f"telemetry --skew-ms {skew_ms} --rate 200 --count 40 --seed 1 --truth {truth}"
    assert skewed_producer.main(words.split()) == 0
    told = json.loads(truth.read_text())["topics"]["telemetry"]
    assert told["fates"]["applied"] == 40

    reader = Consumer({"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"})
    reader.assign([TopicPartition("skewed-telemetry", number, 0) for number in range(PARTITIONS)])
    values = [message.value() for message in reader.consume(told["acknowledged"], timeout=30)]
    assert len(values) == told["acknowledged"]
    reader.close()
    decoded = Decoder(BY_NAME["telemetry"], load_contracts(), LockedIds(), 256_000).decode(values)
    events = [frame for name, frame in decoded.records.items() if name != "Heartbeat"]
    times = [time for frame in events for time in frame["occurred_at"].to_list()]
    assert len(times) == told["fates"]["applied"]
    assert all(began + skew_ms <= time <= wall_clock() + skew_ms for time in times)
