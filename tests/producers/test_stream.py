"""The faults are what they are declared to be: a judge who shares no code with ours agrees, record by record."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.pipeline import ALLOWED_DISORDER_MS, PANE_MS
from producers.chance import stream_of
from producers.events import Event
from producers.faults import MAX_DISORDER_MS, POISONS, FaultInjector, Faults
from producers.partitions import partition_of
from producers.stream import Outgoing, Pulse, Stream
from producers.truth import TopicTruth
from producers.workload_orders import OrderWorkload
from producers.workload_telemetry import TelemetryWorkload

START = 1_700_000_000_000
RECORDS = (
    "OrderPlaced", "OrderPaid", "OrderShipped", "OrderCancelled", "ReadingTaken", "DeviceConnected", "BatteryLow",
    "Heartbeat",
)  # fmt: skip


def encode(record: str, fields: Mapping[str, Any]) -> bytes:
    """Stands in for Avro: five bytes of header, and what a reader needs."""
    return b"\0\0\0\0\1" + json.dumps([record, fields]).encode()


ENCODERS = {record: partial(encode, record) for record in RECORDS}


def decode(value: bytes) -> tuple[str, dict[str, Any]] | None:
    if value[:5] != b"\0\0\0\0\1":
        return None
    try:
        record, fields = json.loads(value[5:])
    except ValueError:
        return None
    return (record, fields) if encode(record, fields) == value else None


def new_stream(
    faults: Faults | None, *, partitions: int = 4, seed: int = 1, on_the_way: bool = True, live: bool = False
) -> Stream:
    pulse = Pulse("test", on_the_way, (lambda: START + 7) if live else None)
    return Stream(TopicTruth(partitions), ENCODERS, pulse, stream_of(seed, "faults"), faults)


def run(stream: Stream, events: list[Event], chunk: int) -> list[Outgoing]:
    out: list[Outgoing] = []
    for start in range(0, len(events), chunk):
        part = events[start : start + chunk]
        out += stream.advance(part, part[-1].occurred_at)
    return out + stream.close(final=True)


def fates(records: list[Outgoing], judge: Any, now: int) -> list[str]:
    return [judge.fate(record.partition, decode(record.value), now) for record in records]


def declared(stream: Stream, records: list[Outgoing]) -> list[str]:
    names = {id(tally): fate for (fate, _), tally in stream.truth.tallies.items()}
    return [names[id(record.tally)] for record in records]


def sent(stream: Stream, fate: str) -> int:
    return sum(tally.sent for (of, _), tally in stream.truth.tallies.items() if of == fate)


MODELS = st.sampled_from([partial(OrderWorkload, customers=50), partial(TelemetryWorkload, devices=7)])
SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.3])


@settings(max_examples=25, deadline=None)
@given(
    model=MODELS,
    seed=st.integers(0, 2**32),
    faults=st.builds(Faults, st.integers(0, MAX_DISORDER_MS), SHARES, SHARES, SHARES),
    gap_ms=st.integers(1, 3_000),
    chunk=st.integers(1, 700),
    partitions=st.integers(1, 6),
    live=st.booleans(),
)
def test_every_record_meets_the_fate_that_is_declared(
    new_judge: Any, model: Any, seed: int, faults: Faults, gap_ms: int, chunk: int, partitions: int, live: bool
) -> None:
    workload = model(seed=seed, partition_of=partial(partition_of, partitions=partitions))
    events = workload.batch(range(START, START + 600 * gap_ms, gap_ms))
    stream = new_stream(faults, partitions=partitions, seed=seed, live=live)
    records = run(stream, events, chunk)
    judge = new_judge()
    assert fates(records, judge, now=events[-1].occurred_at) == declared(stream, records)
    kinds = ("applied", "duplicate", "late", "dead", "control")
    assert Counter(declared(stream, records)) == +Counter({fate: sent(stream, fate) for fate in kinds})
    assert sent(stream, "applied") + sent(stream, "late") == len(events)
    assert all(judge.final_until(partition) > events[-1].occurred_at for partition in range(partitions))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), chunk=st.integers(1, 700))
def test_the_truth_equals_a_recount_of_what_is_sent(seed: int, chunk: int) -> None:
    workload = OrderWorkload(seed, 50, partial(partition_of, partitions=4))
    stream = new_stream(Faults(3_000, 0.05, 0.1, 0.05), seed=seed)
    records = run(stream, workload.batch(range(START, START + 200_000, 200)), chunk)
    decoded = [decode(record.value) for record in records]
    placed = {
        fate: [found[1] for found, own in zip(decoded, declared(stream, records), strict=True)
               if own == fate and found and found[0] == "OrderPlaced"]
        for fate in ("applied", "late")
    }  # fmt: skip
    for fate, orders in placed.items():
        sums = stream.truth.as_json()["sums"][fate]
        assert sums["orders"] == len(orders)
        assert sums["revenue_e4"] == sum(order["amount_e4"] for order in orders)
        assert sums["units"] == sum(item["quantity"] for order in orders for item in order["items"])
    assert stream.truth.sent == len(records)
    assert stream.truth.acknowledged == 0


def test_the_sums_of_readings_are_exact() -> None:
    stream = new_stream(None)
    fields = {"event_id": "x", "occurred_at": START, "value": 0.1}
    stream.advance([Event("ReadingTaken", "d", 0, fields)] * 10, START)
    assert stream.truth.sums["applied"] == {"readings": 10, "value_e6": 1_000_000}


def test_faults_do_not_change_what_the_model_makes() -> None:
    def ids(faults: Faults | None) -> set[str]:
        workload = TelemetryWorkload(3, 10, lambda _key: 0)
        records = run(new_stream(faults), workload.batch(range(START, START + 50_000, 50)), 100)
        decoded = [decode(record.value) for record in records]
        return {f[1]["event_id"] for f in decoded if f and f[0] != "Heartbeat" and f[1]["occurred_at"] < 2 * START}

    assert ids(None) == ids(Faults(8_000, 0.1, 0.1, 0.1))


def test_a_copy_is_the_same_record_on_the_same_partition_soon_after() -> None:
    stream = new_stream(Faults(0, duplicates=1.0))
    workload = OrderWorkload(1, 50, partial(partition_of, partitions=4))
    records = run(stream, workload.batch(range(START, START + 30_000, 100)), 50)
    copies = Counter((r.value, r.key, r.partition) for r in records if r.key is not None)
    assert set(copies.values()) == {2}


def test_events_that_are_held_back_are_out_of_order_by_less_than_was_asked_for() -> None:
    stream = new_stream(Faults(disorder_ms=5_000))
    workload = TelemetryWorkload(1, 10, lambda _key: 0)
    records = run(stream, workload.batch(range(START, START + 60_000, 20)), 100)
    times = [found[1]["occurred_at"] for r in records if r.key and (found := decode(r.value))]
    trailing = [max(times[: i + 1]) - at for i, at in enumerate(times)]
    assert 3_000 < max(trailing) <= 5_000


def test_every_kind_of_poison_is_sent_and_none_but_the_far_future_can_be_read() -> None:
    stream = new_stream(Faults(poison=0.5))
    workload = OrderWorkload(1, 50, partial(partition_of, partitions=4))
    records = run(stream, workload.batch(range(START, START + 60_000, 60)), 100)
    kinds = {id(tally): kind for (fate, kind), tally in stream.truth.tallies.items() if fate == "dead"}
    assert set(kinds.values()) == set(POISONS)
    for record in records:
        if (kind := kinds.get(id(record.tally))) is not None:
            assert (decode(record.value) is not None) == (kind == "far-future")


def test_a_truncated_copy_is_always_shorter_and_a_foreign_id_is_nobodys() -> None:
    injector = FaultInjector(Faults(poison=1), stream_of(1, "spoil"))
    payload = bytes(range(60))
    for _ in range(200):
        assert payload.startswith(injector.spoil("truncated", payload))
        assert len(injector.spoil("truncated", payload)) < len(payload)
        foreign = injector.spoil("unknown-schema", payload)
        assert int.from_bytes(foreign[1:5], "big") >= 2_000_000_000
        assert foreign[5:] == payload[5:]
        assert injector.spoil("random-bytes", payload)[0] != 0
        assert injector.spoil("trailing-bytes", payload)[: len(payload)] == payload


def test_a_partition_that_had_nothing_for_a_second_gets_a_heartbeat() -> None:
    stream = new_stream(None, partitions=3)
    said = Event("BatteryLow", "d", 1, {"event_id": "x", "occurred_at": START + 100})
    assert beats(stream.advance([], START)) == [(0, START), (1, START), (2, START)]
    assert beats(stream.advance([said], START + 999)) == []
    assert beats(stream.advance([], START + 1_007)) == [(0, START + 1_000), (2, START + 1_000)]
    assert beats(stream.advance([], START + 1_900)) == []
    assert beats(stream.advance([], START + 10_300)) == [(p, START + 10_000) for p in range(3)]


def test_in_a_live_run_each_partition_gets_a_probe_each_second_and_a_busy_one_no_newer_time_by_it() -> None:
    stream = new_stream(None, partitions=3, live=True)
    stream.advance([], START)
    said = Event("BatteryLow", "d", 1, {"event_id": "x", "occurred_at": START + 100})
    assert beats(stream.advance([said], START + 999)) == []
    records = stream.advance([], START + 1_007)
    assert beats(records) == [(0, START + 1_000), (1, START + 100), (2, START + 1_000)]
    assert [found[1]["sent_at"] for record in records if (found := decode(record.value))] == [START + 7] * 3


def test_a_run_that_is_not_live_sends_heartbeats_that_are_no_probes() -> None:
    (record,) = new_stream(None, partitions=1).advance([], START)
    found = decode(record.value)
    assert found is not None
    assert found[1]["sent_at"] is None


def test_history_has_no_heartbeats_but_the_closing_ones() -> None:
    stream = new_stream(None, partitions=2, on_the_way=False)
    year = 365 * 86_400_000
    events = [Event("BatteryLow", "d", 1, {"event_id": str(n), "occurred_at": START + n * year}) for n in range(3)]
    assert beats(stream.advance(events, events[-1].occurred_at)) == []
    last = START + 2 * year
    end_of_pane = last - last % PANE_MS + PANE_MS
    assert beats(stream.close(final=True)) == [(p, end_of_pane + ALLOWED_DISORDER_MS) for p in range(2)]


def test_a_run_that_is_not_to_close_ends_without_heartbeats() -> None:
    stream = new_stream(None)
    stream.advance([], START)
    assert stream.close(final=False) == []


def test_a_stream_that_had_no_events_and_no_clock_has_nothing_to_close() -> None:
    assert new_stream(None, on_the_way=False).close(final=True) == []


def beats(records: list[Outgoing]) -> list[tuple[int, int]]:
    found = [(record.partition, decode(record.value)) for record in records]
    return [(partition, f[1]["occurred_at"]) for partition, f in found if f and f[0] == "Heartbeat"]
