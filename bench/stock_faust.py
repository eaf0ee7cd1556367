"""The jobs as Faust's documentation would have them: an agent, a windowed table, an Avro codec.

Orders and their revenue by minute and country; or readings, their sum, least and largest by minute and device. Settings
come from the environment: ``STOCK_BROKER``, ``STOCK_TOPIC``, ``STOCK_APP`` (its id), ``STOCK_JOB``. One table holds all
numbers of a group, which costs less than a table each.
"""

import io
import json
import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import faust
from faust.serializers.codecs import Codec, register

SCHEMAS = Path(__file__).parent.parent / "avro_schemas"
HEADER_BYTES = 5


class OrderPlaced(faust.Record, serializer="order_placed"):
    """What the job needs of an order."""

    occurred_at: datetime
    country: str
    amount: Decimal


class ReadingTaken(faust.Record, serializer="reading_taken"):
    """What the job needs of a reading."""

    occurred_at: datetime
    device_id: str
    value: float


class AvroCodec(Codec):
    """Avro in Confluent's wire format, written with a schema that is known."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__()
        self.schema = fastavro.parse_schema(schema)

    def _loads(self, s: bytes) -> Any:
        return fastavro.schemaless_reader(io.BytesIO(s[HEADER_BYTES:]), self.schema)


def make_app(job: str, app_id: str, broker: str, topic: str) -> faust.App:
    """Return the app of a job (``orders``, ``telemetry``)."""
    app = faust.App(
        app_id,
        broker=f"kafka://{broker}",
        store="memory://",
        consumer_auto_offset_reset="earliest",
        topic_partitions=4,
        web_enabled=False,
    )
    {"orders": _count_orders, "telemetry": _count_readings}[job](app, topic)
    return app


def _count_orders(app: faust.App, topic: str) -> None:
    register("order_placed", AvroCodec(_schema("orders/OrderPlaced.avsc")))
    orders = app.topic(topic, value_type=OrderPlaced, key_type=bytes)
    totals = app.Table("totals", default=lambda: [0, 0]).tumbling(60, expires=timedelta(hours=1))
    by_minute = totals.relative_to_field(OrderPlaced.occurred_at)  # type: ignore[arg-type]  # a descriptor

    @app.agent(orders)
    async def count_orders(stream: Any) -> None:
        async for order in stream:
            count, revenue_e4 = by_minute[order.country].value()
            by_minute[order.country] = [count + 1, revenue_e4 + int(order.amount * 10_000)]


def _count_readings(app: faust.App, topic: str) -> None:
    register("reading_taken", AvroCodec(_schema("telemetry/ReadingTaken.avsc")))
    readings = app.topic(topic, value_type=ReadingTaken, key_type=bytes)
    totals = app.Table("totals", default=lambda: [0, 0, None, None]).tumbling(60, expires=timedelta(hours=1))
    by_minute = totals.relative_to_field(ReadingTaken.occurred_at)  # type: ignore[arg-type]  # a descriptor

    @app.agent(readings)
    async def count_readings(stream: Any) -> None:
        async for reading in stream:
            value = round(reading.value * 1_000_000)
            count, total, least, most = by_minute[reading.device_id].value()
            extremes = [value, value] if not count else [min(least, value), max(most, value)]
            by_minute[reading.device_id] = [count + 1, total + value, *extremes]


def _schema(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / path).read_text())
    return schema


def changelog(app_id: str) -> str:
    """Return the topic that the table's changes go to."""
    return f"{app_id}-totals-changelog"


if __name__ == "__main__":
    told = os.environ
    made = make_app(told["STOCK_JOB"], told["STOCK_APP"], told["STOCK_BROKER"], told["STOCK_TOPIC"])
    faust.Worker(made, loglevel="warning").execute_from_commandline()
