"""The faults are what they are declared to be: a judge who shares no code with ours agrees, record by record."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts import load_contracts
from penstock.pipeline import ALLOWED_DISORDER_MS, PANE_MS
from producers.chance import stream_of
from producers.events import Event, Ints
from producers.faults import MAX_DISORDER_MS, POISONS, Faults, spoiled
from producers.partitions import partitions_of
from producers.rows import NO_ROWS, Rows, moved
from producers.stream import Batch, Outgoing, Pulse, Stream
from producers.truth import Tally, TopicTruth
from producers.workload_orders import OrderWorkload
from producers.workload_telemetry import TelemetryWorkload
from tests.producers.sent_back import ENCODERS, read, records

START = 1_700_000_000_000


def spread(size: int, keys: "np.typing.NDArray[np.uint8]") -> Ints:
    return partitions_of(keys, size)


def orders(seed: int = 1, partitions: int = 4) -> OrderWorkload:
    return OrderWorkload(seed, 50, partial(spread, partitions))


def telemetry(seed: int = 1, partitions: int = 1, devices: int = 10) -> TelemetryWorkload:
    return TelemetryWorkload(seed, devices, partial(spread, partitions))


def made(topic: str, model: Any, times: range) -> Rows:
    return ENCODERS[topic].rows(model.batch(np.array(times)))


def battery(device: str, at: int, partition: int) -> Rows:
    fields = {
        "event_id": "00000000-0000-4000-8000-000000000000", "occurred_at": at, "source": "test", "device_id": device,
        "charge_percent": 3,
    }  # fmt: skip
    return ENCODERS["telemetry"].rows_of([Event("BatteryLow", device, fields)], lambda _keys: np.array([partition]))


def new_stream(
    faults: Faults | None,
    *,
    topic: str = "telemetry",
    partitions: int = 4,
    seed: int = 1,
    on_the_way: bool = True,
    live: bool = False,
) -> Stream:
    pulse = Pulse("test", on_the_way, (lambda: START + 7) if live else None)
    return Stream(TopicTruth(partitions), ENCODERS[topic], pulse, stream_of(seed, "faults"), faults)


def run(stream: Stream, rows: Rows, chunk: int) -> list[Outgoing]:
    out: list[Outgoing] = []
    for start in range(0, len(rows), chunk):
        part = rows.picked(slice(start, start + chunk))
        out += records(stream.advance(part, int(part.times[-1])))
    return out + records(stream.close(final=True))


def fates(topic: str, records: list[Outgoing], judge: Any, now: int) -> list[str]:
    said = read(topic, [record.value for record in records])
    return [judge.fate(record.partition, found, now) for record, found in zip(records, said, strict=True)]


def tally_of(record: Outgoing) -> Tally:
    tally: Tally = record.report.__self__  # type: ignore[attr-defined]  # a bound method
    return tally


def declared(stream: Stream, records: list[Outgoing]) -> list[str]:
    names = {id(tally): fate for (fate, _), tally in stream.truth.tallies.items()}
    return [names[id(tally_of(record))] for record in records]


def sent(stream: Stream, fate: str) -> int:
    return sum(tally.sent for (of, _), tally in stream.truth.tallies.items() if of == fate)


SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.3])


@settings(max_examples=25)
@given(
    topic=st.sampled_from(["orders", "telemetry"]),
    seed=st.integers(0, 2**32),
    faults=st.builds(Faults, st.integers(0, MAX_DISORDER_MS), SHARES, SHARES, SHARES),
    gap_ms=st.integers(1, 3_000),
    chunk=st.integers(1, 700),
    partitions=st.integers(1, 6),
    live=st.booleans(),
)
def test_every_record_meets_the_fate_that_is_declared(
    new_judge: Any, topic: str, seed: int, faults: Faults, gap_ms: int, chunk: int, partitions: int, live: bool
) -> None:
    model = orders(seed, partitions) if topic == "orders" else telemetry(seed, partitions, 7)
    rows = made(topic, model, range(START, START + 600 * gap_ms, gap_ms))
    newest = int(rows.times[-1])
    stream = new_stream(faults, topic=topic, partitions=partitions, seed=seed, live=live)
    sent_records = run(stream, rows, chunk)
    judge = new_judge()
    assert fates(topic, sent_records, judge, now=newest) == declared(stream, sent_records)
    kinds = ("applied", "duplicate", "late", "dead", "control")
    assert Counter(declared(stream, sent_records)) == +Counter({fate: sent(stream, fate) for fate in kinds})
    assert sent(stream, "applied") + sent(stream, "late") == len(rows)
    assert all(judge.final_until(partition) > newest for partition in range(partitions))


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), chunk=st.integers(1, 700))
def test_the_truth_equals_a_recount_of_what_is_sent(seed: int, chunk: int) -> None:
    stream = new_stream(Faults(3_000, 0.05, 0.1, 0.05), topic="orders", seed=seed)
    sent_records = run(stream, made("orders", orders(seed), range(START, START + 200_000, 200)), chunk)
    decoded = read("orders", [record.value for record in sent_records])
    placed = {
        fate: [found[1] for found, own in zip(decoded, declared(stream, sent_records), strict=True)
               if own == fate and found and found[0] == "OrderPlaced"]
        for fate in ("applied", "late")
    }  # fmt: skip
    for fate, found in placed.items():
        sums = stream.truth.as_json()["sums"][fate]
        assert sums["orders"] == len(found)
        assert sums["revenue_e4"] == sum(order["amount_e4"] for order in found)
        assert sums["units"] == sum(item["quantity"] for order in found for item in order["items"])
    assert stream.truth.sent == len(sent_records)
    assert stream.truth.acknowledged == 0


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), chunk=st.integers(1, 700))
def test_the_same_seed_sends_the_same_events_with_the_same_faults_however_many_at_a_time(seed: int, chunk: int) -> None:
    def sent_by(size: int) -> list[tuple[bytes, int, str]]:
        stream = new_stream(Faults(3_000, 0.1, 0.1, 0.1), topic="orders", seed=seed)
        out = run(stream, made("orders", orders(seed), range(START, START + 30_000, 20)), size)
        fates = declared(stream, out)
        return [(r.value, r.partition, fate) for r, fate in zip(out, fates, strict=True) if r.key is not None]

    assert sent_by(chunk) == sent_by(10_000)


def test_the_sums_of_readings_are_exact() -> None:
    stream = new_stream(None)
    fields = {
        "event_id": "00000000-0000-4000-8000-000000000000", "occurred_at": START, "source": "test", "device_id": "d",
        "sensor": "CPU", "value": 0.1, "unit": "percent",
    }  # fmt: skip
    events = [Event("ReadingTaken", "d", fields)] * 10
    stream.advance(ENCODERS["telemetry"].rows_of(events, lambda _keys: np.zeros(1, np.int64)), START)
    assert stream.truth.sums["applied"] == {"readings": 10, "value_e6": 1_000_000}


def test_faults_do_not_change_what_the_model_makes() -> None:
    def ids(faults: Faults | None) -> set[str]:
        sent_records = run(new_stream(faults), made("telemetry", telemetry(3), range(START, START + 50_000, 50)), 100)
        decoded = read("telemetry", [record.value for record in sent_records])
        return {f[1]["event_id"] for f in decoded if f and f[0] != "Heartbeat" and f[1]["occurred_at"] < 2 * START}

    assert ids(None) == ids(Faults(8_000, 0.1, 0.1, 0.1))


def test_a_copy_is_the_same_record_on_the_same_partition_soon_after() -> None:
    stream = new_stream(Faults(0, duplicates=1.0), topic="orders")
    sent_records = run(stream, made("orders", orders(), range(START, START + 30_000, 100)), 50)
    copies = Counter((r.value, r.key, r.partition) for r in sent_records if r.key is not None)
    assert set(copies.values()) == {2}


def test_events_that_are_held_back_are_out_of_order_by_less_than_was_asked_for() -> None:
    stream = new_stream(Faults(disorder_ms=5_000))
    sent_records = run(stream, made("telemetry", telemetry(), range(START, START + 60_000, 20)), 100)
    said = read("telemetry", [record.value for record in sent_records])
    times = [found[1]["occurred_at"] for r, found in zip(sent_records, said, strict=True) if r.key and found]
    trailing = [max(times[: i + 1]) - at for i, at in enumerate(times)]
    assert 3_000 < max(trailing) <= 5_000


def test_every_kind_of_poison_is_sent_and_none_but_the_far_future_can_be_read() -> None:
    stream = new_stream(Faults(poison=0.5), topic="orders")
    sent_records = run(stream, made("orders", orders(), range(START, START + 60_000, 60)), 100)
    kinds = {id(tally): kind for (fate, kind), tally in stream.truth.tallies.items() if fate == "dead"}
    assert set(kinds.values()) == set(POISONS)
    said = read("orders", [record.value for record in sent_records])
    for record, found in zip(sent_records, said, strict=True):
        if (kind := kinds.get(id(tally_of(record)))) is not None:
            assert (found is not None) == (kind == "far-future")


def test_a_truncated_copy_is_always_shorter_and_a_foreign_id_is_nobodys() -> None:
    payload, rng = bytes(range(60)), stream_of(1, "spoil")
    for _ in range(200):
        assert payload.startswith(spoiled("truncated", payload, rng))
        assert len(spoiled("truncated", payload, rng)) < len(payload)
        foreign = spoiled("unknown-schema", payload, rng)
        assert int.from_bytes(foreign[1:5], "big") >= 2_000_000_000
        assert foreign[5:] == payload[5:]
        assert spoiled("random-bytes", payload, rng)[0] != 0
        assert spoiled("trailing-bytes", payload, rng)[: len(payload)] == payload


def test_every_event_begins_with_its_id_and_its_time_so_that_it_can_be_moved() -> None:
    for topic in ENCODERS:
        for name in ENCODERS[topic].records:
            fields = load_contracts()[name].schema["fields"]
            assert [field["name"] for field in fields[:2]] == ["event_id", "occurred_at"]


@given(at=st.integers(0, 250_000_000_000_000))
def test_an_event_that_is_moved_differs_in_its_time_alone(at: int) -> None:
    (value,) = battery("d", START, 0).values
    ((name, fields),) = [found for found in read("telemetry", [value]) if found]
    assert read("telemetry", [moved(value, at)]) == [(name, {**fields, "occurred_at": at})]
    ((_, other),) = [found for found in read("telemetry", [moved(value, at, b"1" * 36)]) if found]
    assert other == {**fields, "occurred_at": at, "event_id": "1" * 36}


def test_a_partition_that_had_nothing_for_a_second_gets_a_heartbeat() -> None:
    stream = new_stream(None, partitions=3)
    said = battery("d", START + 100, 1)
    assert beats(stream.advance(NO_ROWS, START)) == [(0, START), (1, START), (2, START)]
    assert beats(stream.advance(said, START + 999)) == []
    assert beats(stream.advance(NO_ROWS, START + 1_007)) == [(0, START + 1_000), (2, START + 1_000)]
    assert beats(stream.advance(NO_ROWS, START + 1_900)) == []
    assert beats(stream.advance(NO_ROWS, START + 10_300)) == [(p, START + 10_000) for p in range(3)]


def test_in_a_live_run_each_partition_gets_a_probe_each_second_and_a_busy_one_no_newer_time_by_it() -> None:
    stream = new_stream(None, partitions=3, live=True)
    stream.advance(NO_ROWS, START)
    said = battery("d", START + 100, 1)
    assert beats(stream.advance(said, START + 999)) == []
    probes = stream.advance(NO_ROWS, START + 1_007)
    assert beats(probes) == [(0, START + 1_000), (1, START + 100), (2, START + 1_000)]
    assert [found[1]["sent_at"] for found in read("telemetry", probes.values) if found] == [START + 7] * 3


def test_a_run_that_is_not_live_sends_heartbeats_that_are_no_probes() -> None:
    (found,) = read("telemetry", new_stream(None, partitions=1).advance(NO_ROWS, START).values)
    assert found is not None
    assert found[1]["sent_at"] is None


def test_history_has_no_heartbeats_but_the_closing_ones() -> None:
    stream = new_stream(None, partitions=2, on_the_way=False)
    year = 365 * 86_400_000
    rows = NO_ROWS.joined(*(battery("d", START + n * year, 1) for n in range(3)))
    assert beats(stream.advance(rows, START + 2 * year)) == []
    last = START + 2 * year
    end_of_pane = last - last % PANE_MS + PANE_MS
    assert beats(stream.close(final=True)) == [(p, end_of_pane + ALLOWED_DISORDER_MS) for p in range(2)]


def test_a_run_that_is_not_to_close_ends_without_heartbeats() -> None:
    stream = new_stream(None)
    stream.advance(NO_ROWS, START)
    assert len(stream.close(final=False)) == 0


def test_a_stream_that_had_no_events_and_no_clock_has_nothing_to_close() -> None:
    assert len(new_stream(None, on_the_way=False).close(final=True)) == 0


def beats(batch: Batch) -> list[tuple[int, int]]:
    found = zip(batch.partitions, read("telemetry", batch.values), strict=True)
    return [(partition, f[1]["occurred_at"]) for partition, f in found if f and f[0] == "Heartbeat"]
