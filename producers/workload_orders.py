"""Orders as a shop has them: customers and products by Zipf, a day's rhythm, orders that live on. In columns.

The pace is the caller's; the rhythm decides *who* buys: customers whose local hour is busy. An order is placed, paid,
shipped, and sometimes returned; or cancelled instead (see :mod:`producers.order_lives`). What an order is made of
follows from its number and the time it was placed at, so a cancellation can say it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from penstock.avro_cells import Texts, Vocabulary
from penstock.avro_encoding_columns import Columns, Items, Lists, Optional
from producers.chance import Bytes, Choice, Draws, Ints, numbered, stream_of, zipf_weights
from producers.events import Made, Part, PartitionOf
from producers.order_lives import PAID, SHIPPED, Events, Lives

SOURCE = "penstock-produce"
TOPIC = "orders"

HOUR_MS = 3_600_000

_PRODUCTS = 1_000
_GUESTS = 0.1
_MAX_LINES = 8
_TRIES = 4
"""How often somebody is thought of whose hour may be quiet, before one is taken whose hour it is not."""

_ORDER_DIGITS = 12

# (country, currency, hours ahead of UTC, share of the customers)
_COUNTRIES = (
    ("United Kingdom", "GBP", 0, 34), ("Germany", "EUR", 1, 16), ("France", "EUR", 1, 12),
    ("United States", "USD", -5, 11), ("Netherlands", "EUR", 1, 7), ("Spain", "EUR", 1, 6),
    ("Sweden", "SEK", 1, 5), ("Poland", "PLN", 1, 4), ("Australia", "AUD", 10, 3), ("Japan", "JPY", 9, 2),
)  # fmt: skip
_NAMES = Vocabulary([row[0] for row in _COUNTRIES])
_CURRENCIES = Vocabulary([row[1] for row in _COUNTRIES])
_HOURS_AHEAD = np.array([row[2] for row in _COUNTRIES])
_HOMES = Choice([row[3] for row in _COUNTRIES])

# How likely somebody who thinks of buying does so, by local hour.
_ACTIVITY = np.array((
    .15, .10, .07, .05, .05, .08, .15, .30, .50, .65, .75, .80,
    .90, .85, .75, .70, .70, .75, .85, .95, 1., .90, .60, .30,
))  # fmt: skip

_SOURCES = Vocabulary([SOURCE])
_REASONS = Vocabulary(["RETURNED", "CUSTOMER", "PAYMENT_FAILED", "OUT_OF_STOCK"])
"""In the order of the steps' kinds, behind the shipped one."""
_METHODS, _METHOD = Vocabulary(["CARD", "WALLET", "INVOICE"]), Choice([70, 20, 10])
_CARRIERS, _CARRIER = Vocabulary(["royal-mail", "dhl", "ups", "dpd"]), Choice([40, 30, 20, 10])
_QUANTITIES = ((1, 60), (2, 18), (3, 8), (4, 4), (6, 6), (12, 4))
_SIZES = Choice([0.6**n for n in range(_MAX_LINES)])


@dataclass(frozen=True)
class Contents:
    """What some orders are made of: the customer (-1: a guest), the country, and the lines."""

    customers: Ints
    countries: Ints
    counts: Ints
    lines: Ints


class OrderWorkload:
    """A :class:`producers.events.Workload` of orders."""

    def __init__(self, seed: int, customers: int, partition_of: PartitionOf) -> None:
        self._partition_of = partition_of
        self._lives = Lives(seed)
        self._catalogue = Catalogue(seed)
        self._draws = {
            purpose: Draws(seed, f"orders/{purpose}")
            for purpose in ("ids", "guests", "tries", "moods", "sizes", "lines", "methods", "carriers")
        }
        self._customer = Choice(zipf_weights(customers, 0.9))
        self._homes = _HOMES.of(Draws(seed, "orders/homes").uniform(np.arange(customers)))
        self._customer_digits = max(6, len(str(customers)))
        self._run = f"o-{stream_of(seed, 'orders/run').getrandbits(32):08x}-"
        self._made = 0

    def batch(self, times: Ints) -> Made:
        """See :class:`producers.events.Workload`."""
        size = len(times)
        events = self._lives.at(times)
        ids = self._draws["ids"].uuids(np.arange(self._made, self._made + size))
        self._made += size
        keys = numbered(self._run, events.orders + 1, _ORDER_DIGITS)
        amounts, units = np.zeros(size, np.int64), np.zeros(size, np.int64)
        parts = []
        for record, chosen, columns_of in self._kinds(events):
            places = np.flatnonzero(chosen)
            if not len(places):
                continue
            columns = columns_of(Events(*(column[places] for column in events)))
            parts.append(Part(record, places, {
                "event_id": Texts(ids[places]), "occurred_at": times[places],
                "source": _SOURCES.at(np.zeros(len(places), np.int64)), "order_id": Texts(keys[places]), **columns,
            }))  # fmt: skip
            lines = columns.get("items")
            if isinstance(lines, Lists):
                amounts[places], units[places] = self._catalogue.sums(lines.counts, lines.codes)
        texts = keys.view(f"S{keys.shape[1]}").ravel().tolist()
        return Made(times, self._partition_of(keys), texts, parts, amounts, units)

    def _kinds(self, events: Events) -> list[tuple[str, npt.NDArray[np.bool_], Callable[[Events], Columns]]]:
        kinds = events.kinds
        return [
            ("OrderPlaced", kinds < 0, self._placed),
            ("OrderPaid", kinds == PAID, self._paid),
            ("OrderShipped", kinds == SHIPPED, self._shipped),
            ("OrderCancelled", kinds > SHIPPED, self._cancelled),
        ]

    def _placed(self, events: Events) -> Columns:
        contents = self._contents(events)
        known = contents.customers >= 0
        ids = numbered("c-", np.maximum(contents.customers, 0) + 1, self._customer_digits)
        return {"customer_id": Optional(Texts(ids), known), **self._trade(contents)}

    def _paid(self, events: Events) -> Columns:
        return {"method": _METHODS.at(_METHOD.of(self._draws["methods"].uniform(events.orders)))}

    def _shipped(self, events: Events) -> Columns:
        return {"carrier": _CARRIERS.at(_CARRIER.of(self._draws["carriers"].uniform(events.orders)))}

    def _cancelled(self, events: Events) -> Columns:
        return {"reason": _REASONS.at(events.kinds - SHIPPED - 1), **self._trade(self._contents(events))}

    def _trade(self, contents: Contents) -> Columns:
        amounts, _ = self._catalogue.sums(contents.counts, contents.lines)
        return {
            "country": _NAMES.at(contents.countries),
            "currency": _CURRENCIES.at(contents.countries),
            "amount_e4": amounts,
            "items": Lists(contents.counts, contents.lines, self._catalogue.items),
        }

    def _contents(self, events: Events) -> Contents:
        customers, countries = self._buyers(events.orders, events.placed_at)
        counts = _SIZES.of(self._draws["sizes"].uniform(events.orders)) + 1
        firsts = np.cumsum(counts) - counts
        ranks = np.arange(int(counts.sum())) - np.repeat(firsts, counts)
        draws = self._draws["lines"].uniform(np.repeat(events.orders, counts) * _MAX_LINES + ranks)
        return Contents(customers, countries, counts, self._catalogue.line.of(draws))

    def _buyers(self, orders: Ints, placed_at: Ints) -> tuple[Ints, Ints]:
        """Return the customers (-1: a guest) and countries: the first ones thought of whose hour is not too quiet."""
        customers, countries = np.empty_like(orders), np.empty_like(orders)
        guests = self._draws["guests"].uniform(orders) < _GUESTS
        open_ = np.arange(len(orders))
        for attempt in range(_TRIES):
            numbers = orders[open_] * _TRIES + attempt
            drawn, guest = self._draws["tries"].uniform(numbers), guests[open_]
            customer = np.where(guest, -1, self._customer.of(drawn))
            country = np.where(guest, _HOMES.of(drawn), self._homes[customer])
            customers[open_], countries[open_] = customer, country
            hours = (placed_at[open_] // HOUR_MS + _HOURS_AHEAD[country]) % 24
            open_ = open_[self._draws["moods"].uniform(numbers) >= _ACTIVITY[hours]]
        return customers, countries


class Catalogue:
    """Every product in every usual quantity, chosen by popularity × how usual the quantity is."""

    def __init__(self, seed: int) -> None:
        rng = stream_of(seed, "orders/products")
        prices_e4 = [max(5, round(rng.lognormvariate(5.8, 0.9))) * 100 for _ in range(_PRODUCTS)]
        quantities = np.array([quantity for quantity, _ in _QUANTITIES])
        self._products = np.repeat(np.arange(_PRODUCTS), len(quantities))
        self._quantities = np.tile(quantities, _PRODUCTS)
        self._prices_e4 = np.array(prices_e4)[self._products]
        usual = np.tile(np.array([weight for _, weight in _QUANTITIES], np.float64), _PRODUCTS)
        self.line = Choice(zipf_weights(_PRODUCTS)[self._products] * usual)

    @cached_property
    def items(self) -> Items:
        """All of them."""
        names: Bytes = numbered("sku-", self._products + 1, 4)
        columns: Columns = {"sku": Texts(names), "quantity": self._quantities, "unit_price_e4": self._prices_e4}
        return Items(columns, len(self._products))

    def sums(self, counts: Ints, lines: Ints) -> tuple[Ints, Ints]:
        """Return amount (in 1/10,000) and units of orders that have the next ``counts`` of ``lines`` each."""
        firsts = np.cumsum(counts) - counts
        quantities = self._quantities[lines]
        totals = quantities * self._prices_e4[lines]
        return np.add.reduceat(totals, firsts), np.add.reduceat(quantities, firsts)
