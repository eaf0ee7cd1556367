"""A small world in the views, by the stage's own merge: what the serving tests look at."""

from typing import Any

from consumers.stores import Store
from consumers.tables import prepare
from penstock.metrics import SLOTS
from tests.consumers import builders
from tests.consumers.builders import NOON, TOPIC_ID, Instance, views

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
START = NOON // DAY * DAY + 10 * HOUR


def sale(pane: int, sku: str, revenue_e4: int, partition: int = 0) -> Any:
    fields = {"sku": sku, "units": 2, "revenue_e4": revenue_e4}
    return builders.result("ProductSales", pane, partition, 9, True, **fields)


def late(offset: int) -> Any:
    return builders.letter("LateEvent", offset, event_id="e", occurred_at=NOON, watermark=NOON)


def dead(offset: int, value: bytes | None = None, reason: str = "malformed") -> Any:
    return builders.letter("DeadLetter", offset, reason=reason, detail="why", value=value)


def probe(topic: str, partition: int, next_offset: int, sent_at: int) -> Any:
    fields = {"source_topic": topic, "source_topic_id": TOPIC_ID, "source_partition": partition}
    return "ProbePassed", {**fields, "next_offset": next_offset, "sent_at": sent_at}


def pane_count(pane: int, partition: int, next_offset: int, applied: int, *, final: bool = True) -> Any:
    return builders.result("PaneCounted", pane, partition, next_offset, final, applied=applied)


def bucket(pane: int, sensor: str, bucket_e6: int) -> Any:
    fields = {"sensor": sensor, "bucket_e6": bucket_e6, "readings": 1 + bucket_e6 % 7}
    return builders.result("ReadingBucket", pane, 0, 9, True, **fields)


def registers(pane: int, block: int) -> Any:
    ranks = {slot: (block + number) % 5 for number, slot in enumerate(SLOTS)}
    return builders.result("CustomerRegisters", pane, 0, 9, True, block=block, **ranks)


class World:
    """The views of a running pipeline, and how more comes into them."""

    def __init__(self, store: Store) -> None:
        prepare(store, views().values(), 1)
        self.store = store
        self.instance = Instance(store).look()

    def settle(self, view: str, topic: str, *events: Any, **place: Any) -> None:
        self.instance.settle(view, topic, events, **place)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.store.snapshot() as transaction:
            return list(transaction.fetch(sql))

    def fill(self) -> "World":
        """Five orders in three countries, two hours of metrics, three devices, letters, counts and probes."""
        countries = ("GB", "FR", "GB", "DE", "GB")
        self.settle(
            "orders", "orders",
            *(builders.placed(f"o{n}", START + n * MINUTE, n, country=country, customer_id=f"c{n % 2}")
              for n, country in enumerate(countries)),
            builders.paid("o1", START + 2 * MINUTE, 11), builders.shipped("o1", START + 3 * MINUTE, 12),
            builders.cancelled("o2", START + 5 * MINUTE, 13), builders.cancelled("r1", START + 6 * MINUTE, 14),
        )  # fmt: skip
        panes = [START + n * MINUTE for n in (0, 1, 59, 60, 119)]
        for partition in (0, 1):
            rows = [
                builders.order_metrics(pane, partition, 5, pane != panes[-1], country, orders=1 + place)
                for place, pane in enumerate(panes)
                for country in ("FR", "GB")
            ]
            self.settle("order_metrics", "order-metrics", *rows, partition=partition)
        sales = [sale(pane, f"sku-{n}", 10_000 * (n + 1)) for pane in panes for n in range(12)]
        self.settle("product_sales", "order-metrics-final", *sales)
        readings = [builders.telemetry_metrics(pane, 0, 9, [1_000_000, 2_500_000, 7_000_000], pane) for pane in panes]
        self.settle("telemetry_metrics", "telemetry-metrics", *readings)
        buckets = [bucket(pane, sensor, e6) for pane in panes for sensor in ("CPU", "SPEED") for e6 in (101, 5_000_000)]
        self.settle("reading_quantiles", "telemetry-metrics", *buckets)
        blocks = [registers(pane, block) for place, pane in enumerate(panes) for block in range(1 + 40 * place)]
        self.settle("distinct_customers", "order-metrics-final", *blocks)
        newest = panes[-1]
        self.settle(
            "devices", "telemetry",
            builders.connected("d1", newest, 1), builders.reading("d1", "CPU", newest, 12.5, 2),
            builders.reading("d1", "TEMPERATURE", newest - 1, 20.25, 3),
            builders.reading("d2", "CPU", newest - 10 * MINUTE, 99.0, 4), builders.battery_low("d3", newest, 7, 5),
        )  # fmt: skip
        self.settle("late_events", "late-events", late(3), late(5))
        self.settle("dead_letters", "dead-letters", dead(4, b"\x00\xff"), dead(6, None, "too-large"))
        counts = [pane_count(pane, 2, 20 + n, n + 1, final=n < 4) for n, pane in enumerate(panes)]
        self.settle("pane_counts", "order-metrics", *counts)
        self.settle("freshness", "freshness", probe("orders", 2, 30, newest))
        return self
