"""The dashboard of the promises: the books, what was proved, what could not be used."""

from infra.grafana.board import Board, Variable, owner
from infra.grafana.panels import Panel

_CHOSEN = '{topic=~"$topic"}'
_BY_FATE = owner(f"penstock_books_events{_CHOSEN}", "topic, partition, fate")
_BOOKS = owner('penstock_books_events{topic=~"$topic", fate=~"applied|late|dead"}', "topic, partition, fate")
_VIEWS = owner(f"penstock_books_view_events{_CHOSEN}", "topic, partition, fate")
# What the views have none of has no series: it counts as 0.
_IN_FLIGHT = f"{_BOOKS} - on (topic, partition, fate) ({_VIEWS} or {_BOOKS} * 0)"
_IMBALANCE = owner(f"abs(penstock_books_imbalance_events{_CHOSEN})", "topic, partition")
_OPEN = owner(f"penstock_open_panes{_CHOSEN}", "topic, partition")


def _rate(counter: str, by: str, fate: str = ".*") -> str:
    chosen = f'topic=~"$topic", fate=~"{fate}"' if fate != ".*" else 'topic=~"$topic"'
    return f"sum by ({by}) (rate({counter}{{{chosen}}}[$__rate_interval]))"


def _share(fate: str) -> str:
    return f"{_rate('penstock_events_total', 'topic', fate)} / {_rate('penstock_events_total', 'topic')}"


RELIABILITY = Board(
    "penstock-reliability",
    "Penstock: Reliability",
    "The books, what was proved, and what could not be used.",
    {
        "The books": (
            Panel(
                "Imbalance",
                "Offsets passed without a fate, or with two, by partition: must be 0.",
                "short",
                {"{{topic}}/{{partition}}": _IMBALANCE},
                width=6, bad=1, decimals=0, alerts=("BooksOutOfBalance",),
            ),
            Panel(
                "Records by fate",
                "All that was settled, from the frontiers.",
                "short",
                {"{{fate}}": f"sum by (fate) ({_BY_FATE})"},
                "bargauge", 6,
            ),
            Panel(
                "Books minus views",
                "What views have yet to merge or, below 0, show early. It comes back to 0 when nothing is in flight.",
                "short",
                {"{{topic}}: {{fate}}": f"sum by (topic, fate) ({_IN_FLIGHT})"},
                width=6, signed=True, alerts=("ViewsDisagreeWithBooks",),
            ),
            Panel(
                "Open panes",
                "Minutes that are not final: the more, the more is folded again after a restart.",
                "short",
                {"{{topic}}": f"sum by (topic) ({_OPEN})"},
                width=6,
            ),
        ),
        "What was proved": (
            Panel(
                "Verdict",
                "What the newest `penstock verify --every` found.",
                "short",
                {"": "min(penstock_verify_proved)"},
                "stat", 6, 6, bad=1, low=True, names={"1": "PROVED", "0": "NOT PROVED"},
                alerts=("NumbersNotProved",),
            ),
            Panel(
                "Age of the verdict",
                "Time since the newest verification ended with a verdict.",
                "s",
                {"": "time() - max(penstock_verify_timestamp_seconds)"},
                "stat", 6, 6, warn=1800, bad=7200, decimals=0,
            ),
            Panel(
                "Differences",
                "Found by the newest verification, by view.",
                "short",
                {"{{view}}": "max by (view) (penstock_verify_differences)"},
                "bargauge", 6, 6, bad=1, decimals=0,
            ),
            Panel(
                "Events recomputed",
                "By the newest verification.",
                "short",
                {"": "max(penstock_verify_events)"},
                "stat", 6, 6, decimals=0,
            ),
        ),
        "What could not be used, or came late": (
            Panel(
                "Dead letters by reason",
                "New ones; the view `dead_letters` keeps each of them whole.",
                "eps",
                {"{{topic}}: {{reason}}": _rate("penstock_dead_letters_total", "topic, reason")},
                width=6, stacked=True, alerts=("DeadLettersArrive",),
            ),
            Panel(
                "Share of late events",
                "Events whose minute was final when they came; the view `late_events` keeps each of them whole.",
                "percentunit",
                {"{{topic}}": _share("late")},
                width=6, bad=0.05, alerts=("LateShareHigh",),
            ),
            Panel(
                "Share of duplicates",
                "Second copies of events of open panes.",
                "percentunit",
                {"{{topic}}": _share("duplicate")},
                width=6,
            ),
            Panel(
                "Skipped and fenced",
                "Records that a view could not decode, and batches rolled back because another instance was ahead.",
                "eps",
                {
                    "records skipped": "sum(rate(penstock_view_skipped_records_total[$__rate_interval]))",
                    "batches fenced": "sum(rate(penstock_view_fenced_batches_total[$__rate_interval]))",
                },
                width=6,
            ),
        ),
    },
    (Variable("topic", "topic", "penstock_books_events"),),
)  # fmt: skip
