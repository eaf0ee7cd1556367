"""The dashboard for the first look: is it right, is it fresh, how much is it."""

from infra.grafana.board import STAGE_JOBS, Board, per_minute, quantile
from infra.grafana.panels import Panel

_DOWN = f'count(up{{{STAGE_JOBS}}} == 0) or vector(0)'

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
                "stat", 5, 4, bad=1, names={"0": "balanced"}, alerts=("BooksOutOfBalance",),
            ),
            Panel(
                "Last verdict",
                "What the newest `penstock verify --every` found: every row of every view, recomputed from the log.",
                "short",
                {"": "min(penstock_verify_proved)"},
                "stat", 5, 4, bad=1, low=True, names={"1": "PROVED", "0": "NOT PROVED"},
                alerts=("NumbersNotProved",),
            ),
            Panel(
                "Alerts that fire",
                "All alerts that Prometheus fires now; its page Alerts lists them.",
                "short",
                {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
                "stat", 5, 4, bad=1, names={"0": "none"},
            ),
            Panel(
                "Stages that are down",
                "Instances that Prometheus can't scrape.",
                "short",
                {"": _DOWN},
                "stat", 5, 4, bad=1, names={"0": "none"}, alerts=("StageDown", "StageMissing"),
            ),
            Panel(
                "Parts that are away",
                "The broker, the registry or the database, as the stages see them.",
                "short",
                {"": "sum(max by (part) (penstock_part_away))"},
                "stat", 4, 4, bad=1, names={"0": "none"}, alerts=("PartAway",),
            ),
        ),
        "Is it fresh?": (
            Panel(
                "Age of what the views show",
                "Of the newest probe that came through every stage, by the partition where it is oldest.",
                "s",
                {"{{topic}}": "max by (topic) (penstock_freshness_probe_age_seconds)"},
                width=6, height=7, warn=10, bad=30, alerts=("NothingFresh",),
            ),
            Panel(
                "Time that was not fresh",
                "Share of the last three days in which the views were more than 10 s old; the objective allows 1 %.",
                "percentunit",
                {"{{topic}}": "topic:penstock_freshness_slow:ratio_rate3d"},
                "stat", 6, 7, warn=0.005, bad=0.01, decimals=2,
                alerts=("FreshnessBudgetBurnsFast", "FreshnessBudgetBurns"),
            ),
            Panel(
                "Oldest record not settled",
                "The age of the oldest record that a stage has yet to settle; 0 without lag.",
                "s",
                {"{{stage}}": "max by (stage) (penstock_lag_seconds)"},
                width=6, height=7, warn=10, bad=60, alerts=("LagGrows", "LagGrowsOld"),
            ),
            Panel(
                "From the log to the view",
                "Time from a record's append to the commit of the view that holds it.",
                "s",
                {
                    name: quantile(share, "penstock_end_to_end_latency_seconds")
                    for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
                },
                width=6, height=7,
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
