"""The dashboard for the first look: is it right, is it fresh, how much is it."""

from infra.grafana.board import STAGE_JOBS, Board, per_minute, quantile
from infra.grafana.panels import Panel

_DOWN = f'count(up{{job=~"{STAGE_JOBS}"}} == 0) or vector(0)'

OVERVIEW = Board(
    "penstock-overview",
    "Penstock: Overview",
    "Is it right, is it fresh, how much is it.",
    {
        "Is it right?": (
            Panel(
                "Books",
                "Offsets that were passed without a fate, over all partitions: must be 0.",
                "short",
                {"": "max(abs(penstock_books_imbalance_events))"},
                "stat", 6, 4, bad=1, names={"0": "balanced"}, alerts=("BooksOutOfBalance",),
            ),
            Panel(
                "Last verification",
                "What the newest `penstock verify --every` found: every row of every view, recomputed from the log.",
                "short",
                {"": "min(penstock_verify_proved)"},
                "stat", 6, 4, bad=1, low=True, names={"1": "PROVED", "0": "NOT PROVED"},
            ),
            Panel(
                "Alerts that fire",
                "All alerts that Prometheus fires now; its page Alerts lists them.",
                "short",
                {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
                "stat", 6, 4, bad=1, names={"0": "none"},
            ),
            Panel(
                "Stages that are down",
                "Instances that Prometheus can't scrape.",
                "short",
                {"": _DOWN},
                "stat", 6, 4, bad=1, names={"0": "none"}, alerts=("StageDown", "StageMissing"),
            ),
        ),
        "Is it fresh?": (
            Panel(
                "Oldest record not settled",
                "The age of the oldest record that a stage has yet to settle; 0 without lag.",
                "s",
                {"{{stage}}": "max by (stage) (penstock_lag_seconds)"},
                height=7, warn=10, bad=60, alerts=("LagGrowsOld",),
            ),
            Panel(
                "From the log to the view",
                "Time from a record's append to the commit of the view that holds it.",
                "s",
                {
                    name: quantile(share, "penstock_end_to_end_latency_seconds")
                    for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
                },
                height=7,
            ),
            Panel(
                "Watermark behind the clock",
                "Wall clock minus the watermark: 10 s of allowed disorder, and how long ago the newest event occurred.",
                "s",
                {"{{topic}}": "max by (topic) (penstock_watermark_delay_seconds)"},
                height=7, warn=60,
            ),
        ),
        "How much?": (
            Panel(
                "Events settled",
                "Records that got a fate, by topic.",
                "eps",
                {"{{topic}}": "sum by (topic) (rate(penstock_events_total[$__rate_interval]))"},
                height=7, stacked=True,
            ),
            Panel(
                "Orders a minute",
                "Orders placed, late ones not counted; from the views.",
                "short",
                {"orders": per_minute("penstock_business_orders_placed")},
                height=7,
            ),
            Panel(
                "Revenue a minute",
                "Revenue of the orders placed, late ones not counted; from the views.",
                "short",
                {"revenue": per_minute("penstock_business_revenue")},
                height=7,
            ),
        ),
    },
)  # fmt: skip
