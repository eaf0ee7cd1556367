"""The metrics and entity rows by whole columns, against plain Python event by event."""

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from penstock.metrics import METRICS, Metric, metrics_of
from referee.entities import ENTITIES, Entity, mask_unprovable, newest, rows
from referee.recompute import contributions, fold, fold_at, measure_columns
from referee.relations import orders as orders_relation
from referee.sketches import group_types
from simulation.model import Entry, Told
from tests.processors.logs import FIRST_PANE, entry, logs, order
from tests.referee.worlds import end_of, entity_rows, patient, read, start_of

logs_by_topic = st.sampled_from(("orders", "telemetry")).flatmap(lambda name: st.tuples(st.just(name), logs(name)))


def by_key(metric: Metric, frame: pl.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = ("pane", *metric.group)
    return {
        (metric.name, *(row[name] for name in keys)): {name: row[name] for name in measure_columns(metric)}
        for row in frame.iter_rows(named=True)
    }


@patient
@given(logs_by_topic)
def test_every_metric_is_what_its_declaration_says(drawn: tuple[str, list[Entry]]) -> None:
    topic, entries = drawn
    told = Told(entries, start_of(entries))
    log, settled = read(topic, entries)
    for metric in metrics_of(topic):
        assert by_key(metric, fold(metric, contributions(metric, log, settled))) == told.rows_at(
            [metric], end_of(entries)
        )


@patient
@given(logs_by_topic, st.data())
def test_a_row_is_folded_from_the_events_below_its_own_offset(
    drawn: tuple[str, list[Entry]], data: st.DataObject
) -> None:
    topic, entries = drawn
    told = Told(entries, start_of(entries))
    log, settled = read(topic, entries)
    for metric in metrics_of(topic):
        whole = told.rows_at([metric], end_of(entries))
        offsets = {key: data.draw(st.integers(start_of(entries), end_of(entries))) for key in whole}
        chosen = pl.DataFrame(
            [(*key[1:], offset) for key, offset in offsets.items()],
            schema={"pane": pl.Int64, **group_types(metric), "next_offset": pl.Int64},
            orient="row",
        )
        expected = {
            key: row for key, offset in offsets.items() if (row := told.rows_at([metric], offset).get(key)) is not None
        }
        assert by_key(metric, fold_at(metric, contributions(metric, log, settled), chosen)) == expected


def test_a_sum_beyond_64_bits_does_not_wrap() -> None:
    metric = next(metric for metric in METRICS if metric.name == "order_metrics")
    huge = (1 << 62) // 2
    events = pl.DataFrame(
        {"offset": [0, 1, 2, 3, 4], "pane": [0] * 5, "occurred_at": [0] * 5, "event_id": list("abcde")}
    )
    types = {m.name: pl.Int128 if m.aggregate in ("count", "sum") else pl.Int64 for m in metric.measures}
    values = (pl.lit(huge, dtype=kind).alias(name) for name, kind in types.items())
    events = events.with_columns(pl.lit("GB").alias("country"), *values)
    assert fold(metric, events)["revenue_e4"].to_list() == [5 * huge]


def entity_frame(entity: Entity, parts: list[list[Entry]]) -> pl.DataFrame:
    found = []
    for part in parts:
        log, settled = read(entity.topic, part)
        found.append(newest(entity, log, settled, end_of(part)))
    return rows(entity, found)


@patient
@given(st.sampled_from(ENTITIES).flatmap(lambda e: st.tuples(st.just(e), logs(e.topic), logs(e.topic))))
def test_each_event_type_owns_its_columns_and_its_newest_event_wins(
    drawn: tuple[Entity, list[Entry], list[Entry]],
) -> None:
    entity, *parts = drawn
    frame = entity_frame(entity, parts)
    expected = entity_rows(entity.table, [Told(part, start_of(part)) for part in parts])
    found = {tuple(row[k] for k in entity.key): row for row in frame.iter_rows(named=True)}
    # A copy under the same time and id with other content, on another partition, is nobody's to judge.
    times = [name for owner in entity.owners for name in (owner.at, owner.id)]
    assert {k: {n: row[n] for n in times} for k, row in found.items()} == {
        k: {n: row[n] for n in times} for k, row in expected.items()
    }


@patient
@given(logs("orders"))
def test_the_orders_of_one_partition_are_equal_in_every_column(entries: list[Entry]) -> None:
    entity = ENTITIES[0]
    found = {
        (row["order_id"],): {name: row[name] for name in entity.columns}
        for row in entity_frame(entity, [entries]).iter_rows(named=True)
    }
    assert found == entity_rows("orders", [Told(entries, start_of(entries))])


def life(*records: str) -> dict[str, Any]:
    events = [entry("orders", name, order(name, 1, FIRST_PANE + n, 7), n) for n, name in enumerate(records)]
    return orders_relation(entity_frame(ENTITIES[0], [events])).row(0, named=True)


def test_the_status_follows_from_the_rank_and_not_from_the_order_of_arrival() -> None:
    assert life("OrderPlaced")["status"] == "placed"
    assert life("OrderPaid", "OrderPlaced")["status"] == "paid"
    assert life("OrderShipped", "OrderPaid", "OrderPlaced")["status"] == "shipped"
    assert life("OrderCancelled", "OrderShipped", "OrderPlaced")["status"] == "cancelled"


def test_a_cancellation_of_an_order_that_was_never_placed_says_itself_how_much() -> None:
    row = life("OrderCancelled")
    assert (row["amount_e4"], row["currency"], row["placed_at_ms"]) == (7, "GBP", None)


def test_of_a_torn_log_only_what_no_lost_event_can_have_changed_is_compared() -> None:
    entity = ENTITIES[0]
    old = entry("orders", "OrderPlaced", order("OrderPlaced", 1, FIRST_PANE, 5), 10)
    new = entry("orders", "OrderPaid", order("OrderPaid", 1, FIRST_PANE + 1_000, 5), 11)
    expected = entity_frame(entity, [[old, new]])
    older = expected.with_columns(amount_e4=pl.lit(99, dtype=pl.Int64))
    forgotten = expected.with_columns(order_id=pl.lit("x"), paid_at=pl.lit(FIRST_PANE, dtype=pl.Int64))
    invented = expected.with_columns(order_id=pl.lit("y"))
    seen = pl.concat([older, forgotten, invented])
    ours, logs_say = mask_unprovable(entity, seen, expected, FIRST_PANE + 500)
    # An event as new as that of "y" would be in the log.
    assert ours["order_id"].to_list() == ["o1", "y"]
    assert logs_say["order_id"].to_list() == ["o1"]
    assert ours["amount_e4"].to_list() == [None, None]
    assert logs_say["amount_e4"].to_list() == [None]
    assert ours["paid_at"].to_list() == [FIRST_PANE + 1_000] * 2
    assert logs_say["paid_at"].to_list() == [FIRST_PANE + 1_000]
