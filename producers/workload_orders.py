"""Orders as a shop has them: customers and products by Zipf, a day's rhythm, orders that live on.

The pace is the caller's; the rhythm decides *who* buys: customers whose local hour is busy. An order is placed, paid,
shipped, and sometimes returned; or cancelled instead. Each step has its own delay, minutes of a real shop told in
seconds, so that a short run shows whole lives.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from producers.chance import Draws, EventIds, stream_of, zipf_weights
from producers.events import Event, PartitionOf

SOURCE = "penstock-produce"
TOPIC = "orders"

HOUR_MS = 3_600_000
MAX_LIVING_ORDERS = 50_000
"""Orders that wait for their next step; beyond, the next step of one comes early, so that memory is bounded."""

_PRODUCTS = 1_000
_GUESTS = 0.1
_MAX_LINES = 8

# (country, currency, hours ahead of UTC, share of the customers)
_COUNTRIES = (
    ("United Kingdom", "GBP", 0, 34), ("Germany", "EUR", 1, 16), ("France", "EUR", 1, 12),
    ("United States", "USD", -5, 11), ("Netherlands", "EUR", 1, 7), ("Spain", "EUR", 1, 6),
    ("Sweden", "SEK", 1, 5), ("Poland", "PLN", 1, 4), ("Australia", "AUD", 10, 3), ("Japan", "JPY", 9, 2),
)  # fmt: skip

# How likely somebody who thinks of buying does so, by local hour.
_ACTIVITY = (
    .15, .10, .07, .05, .05, .08, .15, .30, .50, .65, .75, .80,
    .90, .85, .75, .70, .70, .75, .85, .95, 1., .90, .60, .30,
)  # fmt: skip

# (steps of a life with the mean delay before each in ms, weight)
_LIVES: tuple[tuple[tuple[tuple[str, float], ...], int], ...] = (
    ((("OrderPaid", 4_000), ("OrderShipped", 20_000)), 92),
    ((("OrderPaid", 4_000), ("OrderShipped", 20_000), ("RETURNED", 40_000)), 3),
    ((("CUSTOMER", 8_000),), 2),
    ((("PAYMENT_FAILED", 6_000),), 2),
    ((("OrderPaid", 4_000), ("OUT_OF_STOCK", 10_000)), 1),
)
_CANCELS = {"RETURNED", "CUSTOMER", "PAYMENT_FAILED", "OUT_OF_STOCK"}

_METHODS = (("CARD", 70), ("WALLET", 20), ("INVOICE", 10))
_CARRIERS = (("royal-mail", 40), ("dhl", 30), ("ups", 20), ("dpd", 10))
_QUANTITIES = ((1, 60), (2, 18), (3, 8), (4, 4), (6, 6), (12, 4))


class Customer(NamedTuple):
    """Who buys; ``customer_id`` is None for a guest."""

    customer_id: str | None
    country: str
    currency: str
    utc_offset_ms: int


class Line(NamedTuple):
    """An item of an order, made once and shared by all orders that have it."""

    item: dict[str, object]
    total_e4: int


class Life(NamedTuple):
    """What is still to come of an order."""

    order_id: str
    partition: int
    customer: Customer
    amount_e4: int
    items: list[dict[str, object]]
    steps: tuple[tuple[str, float], ...]


class OrderWorkload:
    """A :class:`producers.events.Workload` of orders."""

    def __init__(self, seed: int, customers: int, partition_of: PartitionOf) -> None:
        rng = stream_of(seed, "orders")
        self._rng = rng
        self._partition_of = partition_of
        self._event_id = EventIds(stream_of(seed, "orders/ids"))
        self._customers = Draws(rng, _customers(seed, customers), zipf_weights(customers, 0.9))
        self._guests = Draws(rng, [_customer(None, row) for row in _COUNTRIES], _weights(_COUNTRIES))
        lines, weights = _lines(seed)
        self._lines = Draws(rng, lines, weights)
        self._sizes = Draws(rng, range(1, _MAX_LINES + 1), [0.6**n for n in range(_MAX_LINES)])
        self._lives = Draws(rng, [life for life, _ in _LIVES], _weights(_LIVES))
        self._methods = Draws(rng, [name for name, _ in _METHODS], _weights(_METHODS))
        self._carriers = Draws(rng, [name for name, _ in _CARRIERS], _weights(_CARRIERS))
        self._run = f"{rng.getrandbits(32):08x}"
        self._placed = 0
        self._living: list[tuple[float, int, Life]] = []
        self._steps = 0

    def batch(self, times: Sequence[int]) -> list[Event]:
        """See :class:`producers.events.Workload`: the step of an order that is due, else a new order."""
        living = self._living
        return [
            self._next_step(at)
            if living and (living[0][0] <= at or len(living) >= MAX_LIVING_ORDERS)
            else self._place(at)
            for at in times
        ]

    def _place(self, at: int) -> Event:
        customer = self._customer(at)
        self._placed += 1
        order_id = f"o-{self._run}-{self._placed}"
        draw = self._lines.one
        lines = [draw() for _ in range(self._sizes.one())]
        items = [line[0] for line in lines]
        amount_e4 = sum([line[1] for line in lines])
        partition = self._partition_of(order_id)
        self._wait(at, Life(order_id, partition, customer, amount_e4, items, self._lives.one()))
        fields = {
            "event_id": self._event_id.one(), "occurred_at": at, "source": SOURCE, "order_id": order_id,
            "customer_id": customer.customer_id, "country": customer.country, "currency": customer.currency,
            "amount_e4": amount_e4, "items": items,
        }  # fmt: skip
        return Event("OrderPlaced", order_id, partition, fields)

    def _customer(self, at: int) -> Customer:
        random = self._rng.random
        draw = self._guests.one if random() < _GUESTS else self._customers.one
        for _ in range(4):
            customer = draw()
            if random() < _ACTIVITY[(at + customer[3]) // HOUR_MS % 24]:
                break
        return customer

    def _wait(self, at: int, life: Life) -> None:
        self._steps += 1
        delay = self._rng.expovariate(1.0 / life.steps[0][1])
        heapq.heappush(self._living, (at + delay, self._steps, life))

    def _next_step(self, at: int) -> Event:
        life = heapq.heappop(self._living)[2]
        step = life.steps[0][0]
        if len(life.steps) > 1:
            self._wait(at, life._replace(steps=life.steps[1:]))
        fields: dict[str, object] = {
            "event_id": self._event_id.one(), "occurred_at": at, "source": SOURCE, "order_id": life.order_id,
        }  # fmt: skip
        if step == "OrderPaid":
            fields["method"] = self._methods.one()
        elif step == "OrderShipped":
            fields["carrier"] = self._carriers.one()
        else:
            fields |= {
                "reason": step, "country": life.customer.country, "currency": life.customer.currency,
                "amount_e4": life.amount_e4, "items": life.items,
            }  # fmt: skip
        return Event("OrderCancelled" if step in _CANCELS else step, life.order_id, life.partition, fields)


def _weights(rows: Sequence[tuple[object, ...]]) -> list[float]:
    """Return the last column."""
    return [float(str(row[-1])) for row in rows]


def _customers(seed: int, count: int) -> list[Customer]:
    rng = stream_of(seed, "orders/customers")
    homes = rng.choices(_COUNTRIES, _weights(_COUNTRIES), k=count)
    return [_customer(f"c-{number:06}", home) for number, home in enumerate(homes, 1)]


def _customer(customer_id: str | None, home: tuple[str, str, int, int]) -> Customer:
    country, currency, hours, _ = home
    return Customer(customer_id, country, currency, hours * HOUR_MS)


def _lines(seed: int) -> tuple[list[Line], list[float]]:
    """Return every product in every usual quantity, with its weight: popularity × how usual the quantity is."""
    rng = stream_of(seed, "orders/products")
    lines, weights = [], []
    for number, popularity in enumerate(zipf_weights(_PRODUCTS), 1):
        price_e4 = max(5, round(rng.lognormvariate(5.8, 0.9))) * 100
        for quantity, usual in _QUANTITIES:
            item = {"sku": f"sku-{number:04}", "quantity": quantity, "unit_price_e4": price_e4}
            lines.append(Line(item, quantity * price_e4))
            weights.append(popularity * usual)
    return lines, weights
