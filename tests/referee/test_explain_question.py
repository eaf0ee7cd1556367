"""What may be asked of `penstock explain`, and how it helps with what may not."""

import pytest
from confluent_kafka import Producer

from penstock.errors import UsageError
from referee.explain_question import EntityQuestion, LetterQuestion, MetricQuestion, parse_time, question, time_text
from referee.partitioner import partition_of
from tests.referee import stage

NOON = 1_700_049_600_000
"""2023-11-15T12:00:00Z."""


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-15T12:00", "2023-11-15 12:00:00", "2023-11-15T12:00:00Z", "2023-11-15T12:00:00.000Z",
        "2023-11-15T13:00:00+01:00", "1700049600000",
    ],
)  # fmt: skip
def test_times_are_read_in_utc(text: str) -> None:
    assert parse_time("--window", text) == NOON
    assert time_text(NOON) == "2023-11-15T12:00:00.000Z"


@pytest.mark.parametrize(
    ("view", "start", "end"),
    [("order_metrics", 60_000, 120_000), ("order_metrics_by_hour", 0, 3_600_000)],
)
def test_any_time_in_the_window_will_do(view: str, start: int, end: int) -> None:
    asked = question(view, ["country=GB"], "2023-11-15T12:01:30")
    assert isinstance(asked, MetricQuestion)
    assert (asked.start_ms - NOON, asked.end_ms - NOON) == (start, end)


def test_keys_may_be_written_as_verify_prints_them() -> None:
    asked = question("order_metrics", ["source_partition=2", f"window_start={NOON}", "country=United Kingdom"], None)
    assert isinstance(asked, MetricQuestion)
    assert (asked.partition, asked.start_ms, dict(asked.group)) == (2, NOON, {"country": "United Kingdom"})
    letter = question("late_events", ["source_topic_id=abc", "source_partition=1", "source_offset=9"], None)
    assert isinstance(letter, LetterQuestion)
    assert (letter.topic, letter.partition, letter.offset) == ("abc", 1, 9)


def test_a_device_may_be_asked_for_with_a_sensor_or_without() -> None:
    for pairs in (["device_id=d"], ["device_id=d", "sensor=CPU"]):
        asked = question("devices", pairs, None)
        assert isinstance(asked, EntityQuestion)
        assert len(asked.entities) == 2


@pytest.mark.parametrize(
    ("view", "pairs", "window", "words"),
    [
        ("sales", [], None, ("no view 'sales'", "product_sales_by_hour")),
        ("pane_counts_by_day", [], None, ("no view",)),
        ("sales", [], "2023-11-15", ("no view",)),
        ("order_metrics", ["land=GB"], "2023-11-15", ("no key column 'land'", "keyed by country", "--key country=")),
        ("reading_quantiles_by_day", ["sensor=CPU"], "2023-11-15", ("single cells", "--key bucket_e6=21500000")),
        ("distinct_customers", [], "2023-11-15", ("single cells", "table distinct_customers", "--key block=17")),
        ("distinct_customers", ["block=x"], "2023-11-15", ("block=x", "must be a whole number")),
        ("telemetry_metrics", ["sensor=CPU"], "2023-11-15", ("needs device_id", "--key sensor=", "--key device_id=")),
        ("order_metrics", ["country=GB"], None, ("--window", "any time in it")),
        ("order_metrics", ["country=GB"], "noon", ("--window noon", "milliseconds")),
        ("order_metrics", ["country"], "2023-11-15", ("name=value",)),
        ("order_metrics", ["country=a", "country=b"], "2023-11-15", ("twice",)),
        ("order_metrics", ["country=a", "source_partition=x"], "2023-11-15", ("whole number",)),
        ("orders", ["order_id=1"], "2023-11-15", ("no windows",)),
        ("pane_counts", ["topic=order", "partition=1"], "2023-11-15", ("counts orders and telemetry",)),
        ("late_events", ["topic=orders", "partition=1", "offset=-1"], None, ("whole number",)),
    ],
)
def test_a_wrong_question_is_answered_in_one_line_with_what_there_is(
    view: str, pairs: list[str], window: str | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        question(view, pairs, window)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_belongs_to_the_partition_that_kafkas_default_partitioner_chooses() -> None:
    keys = ["", "a", "ab", "abc", "abcd", "order-1", "Zürich", "x" * 37]
    placed: dict[str, int] = {}
    with stage.embedded_broker() as bootstrap:
        producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2"})
        count = len(producer.list_topics("keys", timeout=10).topics["keys"].partitions)
        for key in keys:
            def note(_: object, message: object, key: str = key) -> None:
                placed[key] = message.partition()  # type: ignore[attr-defined]

            producer.produce("keys", b"", key=key, on_delivery=note)
        assert producer.flush(30) == 0
    assert placed == {key: partition_of(key, count) for key in keys}
