"""The dashboard of the business: orders and devices, out of the views."""

from infra.grafana.board import Board, Variable, per_minute
from infra.grafana.panels import Panel

_CHOSEN = '{country=~"$country"}'


def _of_all_time(figure: str) -> str:
    return f"sum(max by (country) ({figure}{_CHOSEN}))"


def _most(figure: str) -> str:
    return f"topk(10, {per_minute(figure + _CHOSEN, 'country')})"


BUSINESS = Board(
    "penstock-business",
    "Penstock: Business",
    "Orders and devices, out of the views: right again after any restart. Figures of windows leave late events out.",
    {
        "Orders": (
            Panel(
                "Orders placed",
                "Of all time.",
                "short",
                {"": _of_all_time("penstock_business_orders_placed")},
                "stat", 4, 5, decimals=0,
            ),
            Panel(
                "Revenue",
                "Of the orders placed, of all time.",
                "short",
                {"": _of_all_time("penstock_business_revenue")},
                "stat", 4, 5, decimals=2,
            ),
            Panel(
                "Cancelled",
                "Value of the orders cancelled, of all time.",
                "short",
                {"": _of_all_time("penstock_business_cancelled")},
                "stat", 4, 5, decimals=2,
            ),
            Panel(
                "Orders by status",
                "Each order once, late events included.",
                "short",
                {"{{status}}": "max by (status) (penstock_business_orders)"},
                "bargauge", 12, 5,
            ),
            Panel(
                "Revenue a minute, by country",
                "The ten countries with the most.",
                "short",
                {"{{country}}": _most("penstock_business_revenue")},
                stacked=True,
            ),
            Panel(
                "Orders a minute, by country",
                "The ten countries with the most.",
                "short",
                {"{{country}}": _most("penstock_business_orders_placed")},
                stacked=True,
            ),
            Panel(
                "Best products",
                "Revenue in the last 24 hours of events.",
                "short",
                {"{{sku}}": "sort_desc(max by (sku) (penstock_business_product_revenue))"},
                "bargauge",
            ),
        ),
        "Devices": (
            Panel(
                "Devices",
                "That have ever sent a reading, by sensor.",
                "short",
                {"{{sensor}}": "max by (sensor) (penstock_business_devices)"},
                "bargauge", 6,
            ),
            Panel(
                "Devices to look after",
                "Silent: the last reading is 10 minutes older than anybody's newest. Low battery: told of in the last "
                "24 hours.",
                "short",
                {
                    "silent": "sum(max by (sensor) (penstock_business_silent_devices))",
                    "low battery": "max(penstock_business_low_batteries)",
                },
                "stat", 6, warn=1,
            ),
            Panel(
                "Readings a minute",
                "By sensor.",
                "short",
                {"{{sensor}}": per_minute("penstock_business_readings", "sensor")},
                width=6, stacked=True,
            ),
            Panel(
                "Mean of the readings",
                "Over the last 5 minutes of events, in each sensor's own unit.",
                "none",
                {"{{sensor}}": "max by (sensor) (penstock_business_reading_mean)"},
                width=6, signed=True,
            ),
        ),
    },
    (Variable("country", "country", "penstock_business_revenue"),),
    hours=6,
)  # fmt: skip
