"""A new domain is a contract and a declaration: `trips` is folded exactly, and no module knows of it."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.avro import Decoder, Encoder
from penstock.contracts import load_contracts
from penstock.metrics import Measure, Metric
from penstock.schema_ids import LockedIds
from penstock.topics import Topic
from simulation.model import Entry, Told
from tests.processors.harness import Run
from tests.processors.logs import APPENDED_MS, FIRST_PANE, event_id

TRIPS = Topic("trips", "source", ("trips",))
METRICS = (
    Metric(
        "trips_by_city", "trips", "TripsCounted", "trip-metrics", ("city",),
        (
            Measure("trips", "count", "TripEnded"),
            Measure("fares_e4", "sum", "TripEnded", "fare_e4"),
            Measure("longest_s", "max", "TripEnded", "seconds"),
            Measure("shortest_s", "min", "TripEnded", "seconds"),
            Measure("last_seconds", "last", "TripEnded", "seconds"),
            Measure("stops", "count", "TripEnded.stops"),
            Measure("complaints", "count", "TripComplained"),
        ),
    ),
    Metric("trip_panes", "trips", "PaneCounted", "trip-metrics", (), (Measure("applied", "count", "*"),)),
)  # fmt: skip


def _contract(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    time = {"type": "long", "logicalType": "timestamp-millis"}
    common = [
        {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "occurred_at", "type": time},
    ]
    fields_of_all = [*common, {"name": "source", "type": "string"}, {"name": "city", "type": "string"}, *fields]
    return {"type": "record", "name": name, "namespace": "io.toy.trips", "fields": fields_of_all}


def _world(folder: Path) -> tuple[Decoder, dict[str, Encoder]]:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 11, "scale": 4}
    stop = {"type": "record", "name": "Stop", "fields": [{"name": "place", "type": "string"}]}
    (folder / "trips").mkdir(exist_ok=True)
    for schema in (
        _contract(
            "TripEnded", {"name": "fare", "type": money}, {"name": "seconds", "type": "int"},
            {"name": "stops", "type": {"type": "array", "items": stop}},
        ),
        _contract("TripComplained"),
    ):  # fmt: skip
        (folder / "trips" / f"{schema['name']}.avsc").write_text(json.dumps(schema))
    contracts = load_contracts(folder)
    ids = LockedIds(dict(enumerate(contracts.values(), 1)), contracts)
    encoders = {name: Encoder(contract, ids.id_of(contract, TRIPS)) for name, contract in contracts.items()}
    return Decoder(TRIPS, contracts, ids, 1_000), encoders


def _trip(record: str, number: int, minutes: int, seconds: int) -> dict[str, Any]:
    trip = {
        "event_id": event_id(number), "occurred_at": FIRST_PANE + minutes * 20_000, "source": "toy",
        "city": "AB"[number % 2],
    }  # fmt: skip
    ended = {"fare_e4": 1_000 + seconds, "seconds": seconds, "stops": [{"place": "x"}] * (number % 3)}
    return trip | (ended if record == "TripEnded" else {})


trips = st.lists(
    st.tuples(
        st.sampled_from(("TripEnded", "TripEnded", "TripComplained")),
        st.integers(1, 20), st.integers(0, 12), st.integers(0, 99),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(max_examples=30)
@given(drawn=trips, batch=st.integers(1, 15), crash=st.integers(0, 20))
def test_a_toy_domain_is_folded_exactly_by_its_declaration_alone(
    tmp_path_factory: Any, drawn: list[tuple[str, int, int, int]], batch: int, crash: int
) -> None:
    decoder, encoders = _world(tmp_path_factory.mktemp("toy"))
    log = []
    for offset, (record, *numbers) in enumerate(drawn):
        event = _trip(record, *numbers)
        log.append(Entry(offset, APPENDED_MS, record, event, encoders[record].encode(event)))
    told, run = Told(log), Run(METRICS, decoder, log)
    run.feed(batch)
    run.send_changed()
    run.restart(crash % len(run.commits))
    while run.feed(batch):
        run.send_changed()
    expected = told.rows_at(METRICS, len(log))
    assert {key for key, _, _ in run.sent.final} == {key for key in expected if told.is_closed(key[1], len(log))}
    assert all(row == expected[key] for key, _, row in run.sent.final)
    assert all(row == told.rows_at(METRICS, at)[key] for key, at, row in run.sent.early)
    assert run.fold.frontier.imbalance == 0
