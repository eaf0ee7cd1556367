"""The UCI "Online Retail" table as events: a row is an invoice line, an order is all lines of one invoice.

The rules: an invoice whose number does not begin with ``C`` is an ``OrderPlaced`` of its rows with quantity > 0 and
price > 0 (postage and the like included), at the time of the first of them, UTC. A ``C…`` invoice is an
``OrderCancelled`` with its own id and positive amounts, of its rows with quantity < 0 and price > 0. All other rows are
counted by reason. A row that can't be read is left out of its invoice and told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from producers.csv_rows import Gathered, Row, WrongRow, parsed, rows_of, text, time_ms
from producers.events import Event

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
SOURCE = "penstock-replay"
CURRENCY = "GBP"

_NAMESPACE = uuid5(NAMESPACE_URL, "penstock:replay:online-retail")
_MAX_QUANTITY = 1_000_000
_MAX_PRICE_E4 = 10**11 - 1
_MAX_AMOUNT_E4 = 10**15 - 1


@dataclass
class Invoice:
    """The rows of an invoice that count, so far."""

    number: str
    first: Row
    occurred_at: int
    customer_id: str | None
    country: str
    items: list[dict[str, object]] = field(default_factory=list)
    amount_e4: int = 0

    @property
    def cancels(self) -> bool:
        """Whether it takes goods back."""
        return self.number.startswith("C")


def gather(files: Iterable[tuple[str, Sequence[str]]]) -> Gathered:
    """Return the events of ``files`` (name and lines of each), in event-time order over all of them."""
    gathered = Gathered()
    invoices: dict[str, Invoice] = {}
    for name, lines in files:
        for row in rows_of(name, lines, COLUMNS, gathered):
            try:
                _add(row, invoices, gathered)
            except WrongRow as wrong:
                gathered.wrong(row, wrong)
    ordered = sorted(invoices.values(), key=lambda invoice: invoice.occurred_at)
    gathered.events = [_event(invoice) for invoice in ordered]
    return gathered


def _add(row: Row, invoices: dict[str, Invoice], gathered: Gathered) -> None:
    """Add a row to its invoice, or count why not."""
    number, sku, quantity_text, time_text, price_text, customer, country = row.values
    number, sku, country = text("InvoiceNo", number), text("StockCode", sku), text("Country", country)
    at = time_ms("InvoiceDate", time_text)
    quantity, price_e4 = _quantity(quantity_text), _price_e4(price_text)
    reason = _left_out(number, quantity, price_e4)
    if reason:
        gathered.skip(reason)
        return
    units = abs(quantity)
    customer_id = customer_of(customer)
    invoice = invoices.get(number) or Invoice(number, row, at, customer_id, country)
    if invoice.amount_e4 + units * price_e4 > _MAX_AMOUNT_E4:
        raise WrongRow(f"invoice {number} would be worth more than the contract allows")
    invoices[number] = invoice
    invoice.items.append({"sku": sku, "quantity": units, "unit_price_e4": price_e4})
    invoice.amount_e4 += units * price_e4


def _left_out(number: str, quantity: int, price_e4: int) -> str | None:
    """Return why the rules leave a row out, or None."""
    if number.startswith("C"):
        if quantity >= 0:
            return "cancellation of a quantity that is not below 0"
        return "cancellation at a price that is not above 0" if price_e4 <= 0 else None
    if quantity <= 0:
        return "quantity is not above 0"
    return "price is not above 0" if price_e4 <= 0 else None


def _quantity(value: str) -> int:
    quantity = parsed("Quantity", value, int)
    if abs(quantity) > _MAX_QUANTITY:
        raise WrongRow(f"Quantity {value!r} is more than {_MAX_QUANTITY}")
    return quantity


def _price_e4(value: str) -> int:
    """Return a price as units of 1/10,000, exactly."""
    price = parsed("UnitPrice", value, Decimal)
    if not price.is_finite() or abs(price) > _MAX_PRICE_E4 or price * 10_000 % 1:
        raise WrongRow(f"UnitPrice {value!r} is no price with at most four decimals")
    price_e4 = int(price * 10_000)
    if abs(price_e4) > _MAX_PRICE_E4:
        raise WrongRow(f"UnitPrice {value!r} is more than the contract allows")
    return price_e4


def customer_of(value: str) -> str | None:
    """Return ``17850`` for ``17850.0``, None for an empty cell."""
    return text("CustomerID", value.strip().removesuffix(".0")) if value.strip() else None


def _event(invoice: Invoice) -> Event:
    fields = {
        "event_id": str(uuid5(_NAMESPACE, f"{invoice.first.file}/{invoice.number}")),
        "occurred_at": invoice.occurred_at,
        "source": SOURCE,
        "order_id": invoice.number,
        "country": invoice.country,
        "currency": CURRENCY,
        "amount_e4": invoice.amount_e4,
        "items": invoice.items,
    }
    # The table does not say why an invoice was cancelled, so the reason stays unknown.
    fields |= {"reason": "UNKNOWN"} if invoice.cancels else {"customer_id": invoice.customer_id}
    record = "OrderCancelled" if invoice.cancels else "OrderPlaced"
    return Event(record, invoice.number, fields)
