"""Orders: the list, and one with its history."""

from http import HTTPStatus
from typing import Any

from consumers.serving.endpoints import Arguments, Endpoint, Field, Parameter, record, reference, schema_of
from consumers.serving.kinds import Choice, Money, Said, Text, Time
from consumers.serving.look import Look
from consumers.serving.pages import Key, Listing
from consumers.serving.problems import Problem

STATUSES = ("placed", "paid", "shipped", "cancelled")

_FIELDS = (
    Field("order_id", Said()),
    Field("status", Choice(STATUSES), "By rank: cancelled wins over shipped over paid over placed."),
    Field("customer_id", Said(), "Null for a guest.", nullable=True),
    Field("country", Said(), nullable=True),
    Field("currency", Said(), nullable=True),
    Field("amount", Money(), "Of a return that was never seen placed, what was returned.", "amount_e4", nullable=True),
    *(Field(f"{status}_at", Time(), "", f"{status}_at_ms", nullable=True) for status in STATUSES),
)
_STEPS = (
    Field("status", Choice(STATUSES)),
    Field("at", Time(), "Event time."),
    Field("method", Said(), "How it was paid.", nullable=True),
    Field("carrier", Said(), "Who carries it.", nullable=True),
    Field("reason", Said(), "Why it was cancelled.", nullable=True),
    Field("amount", Money(), "What was cancelled.", nullable=True),
)

_LIST = Listing(
    "/api/orders", "listOrders", "Order", "Orders as they are now, late events included; ordered by their id.",
    "orders", "orders", _FIELDS,
    (
        Parameter("status", Choice(STATUSES), "Only orders in this state.", "status = :status"),
        Parameter("country", Text(), "Only of this country.", "country = :country"),
        Parameter("customer", Text(), "Only of this customer.", "customer_id = :customer"),
        Parameter("since", Time(), "Only placed at this time or later.", "placed_at_ms >= :since"),
        Parameter("until", Time(), "Only placed before this time.", "placed_at_ms < :until"),
    ),
    (Key("order_id", str),),
)  # fmt: skip

_MORE = ("paid_at_ms", "method", "shipped_at_ms", "carrier", "cancelled_at_ms", "cancel_reason", "cancelled_e4")


def _read_order(look: Look, arguments: Arguments) -> dict[str, Any]:
    columns = ", ".join((*(item.source for item in _FIELDS), *_MORE))
    sql = f"SELECT {columns} FROM orders WHERE order_id = :order_id"  # noqa: S608  # names of ours
    rows = look.rows("orders", sql, {"order_id": arguments["order_id"]})
    if not rows:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no order {arguments['order_id']!r} in the view")
    order = record(_FIELDS, rows[0][: len(_FIELDS)])
    paid_at, method, shipped_at, carrier, cancelled_at, reason, cancelled_e4 = rows[0][len(_FIELDS) :]
    placed_at = rows[0][[item.name for item in _FIELDS].index("placed_at")]
    steps = [
        ("placed", placed_at, None, None, None, None),
        ("paid", paid_at, method, None, None, None),
        ("shipped", shipped_at, None, carrier, None, None),
        ("cancelled", cancelled_at, None, None, reason, cancelled_e4),
    ]
    known = sorted((step for step in steps if step[1] is not None), key=lambda step: (step[1], STATUSES.index(step[0])))
    return {**order, "history": [record(_STEPS, step) for step in known]}


_WHOLE = schema_of(_FIELDS, "An order and its history.")
_ONE = Endpoint(
    "/api/orders/{order_id}", "getOrder", "One order with its history: each step that was seen, by event time.",
    (Parameter("order_id", Text(), "The order's id.", in_path=True),),
    reference("OrderWithHistory"), _read_order,
    {
        "OrderStep": schema_of(_STEPS, "A step of an order's life; of several of a kind, the newest."),
        "OrderWithHistory": {
            **_WHOLE,
            "required": [*_WHOLE["required"], "history"],
            "properties": {**_WHOLE["properties"], "history": {"type": "array", "items": reference("OrderStep")}},
        },
    },
)  # fmt: skip

ENDPOINTS = (_LIST.endpoint(), _ONE)
