"""The dashboard of the processes: what each does, how far it is behind, what it takes."""

from infra.grafana.board import STAGE_JOBS, Board, Variable, owner, quantile
from infra.grafana.panels import Panel

_CHOSEN = '{instance=~"$instance"}'
_LAG = owner("penstock_lag_events", "stage, topic, partition")

STAGES = Board(
    "penstock-stages",
    "Penstock: Stages",
    "What each process does: lag, rates, batches, commits, restarts, memory, CPU.",
    {
        "Behind": (
            Panel(
                "Lag",
                "Records in the log that are not settled, by stage and topic.",
                "short",
                {"{{stage}}: {{topic}}": f"sum by (stage, topic) ({_LAG})"},
                width=6, alerts=("OffsetsStuck", "GroupWithoutMembers"),
            ),
            Panel(
                "Lag in time",
                "The age of the oldest record not settled, by stage and topic.",
                "s",
                {"{{stage}}: {{topic}}": "max by (stage, topic) (penstock_lag_seconds)"},
                width=6, warn=10, bad=60, alerts=("LagGrows", "LagGrowsOld"),
            ),
            Panel(
                "Watermark behind the clock",
                "Wall clock minus the watermark: 10 s of allowed disorder, and how long ago the newest event occurred.",
                "s",
                {"{{topic}}": "max by (topic) (penstock_watermark_delay_seconds)"},
                width=6, warn=60, bad=120, alerts=("WatermarkStuck",),
            ),
            Panel(
                "Time since the last commit",
                "Of processors to Kafka, of views to their database. It grows where nothing comes in, too.",
                "s",
                {"{{stage}} {{instance}}": f"penstock_commit_age_seconds{_CHOSEN}"},
                width=6,
            ),
        ),
        "Work": (
            Panel(
                "Events acknowledged to producers",
                "What the broker has confirmed, by topic.",
                "eps",
                {"{{topic}}": "sum by (topic) (rate(penstock_produced_events_total[$__rate_interval]))"},
                width=6,
            ),
            Panel(
                "Records settled",
                "By processor.",
                "eps",
                {"{{instance}}": f"sum by (instance) (rate(penstock_events_total{_CHOSEN}[$__rate_interval]))"},
                width=6, stacked=True,
            ),
            Panel(
                "Records merged into views",
                "By view.",
                "eps",
                {"{{view}}": "sum by (view) (rate(penstock_view_records_total[$__rate_interval]))"},
                width=6, stacked=True,
            ),
            Panel(
                "Time to settle a batch",
                "To fold one, or to merge and commit it.",
                "s",
                {
                    f"{{{{stage}}}} {name}": quantile(share, "penstock_batch_duration_seconds", "stage")
                    for name, share in {"p50": 0.5, "p99": 0.99}.items()
                },
                width=6,
            ),
        ),
        "Processes": (
            Panel(
                "Up",
                "1 while Prometheus can scrape it.",
                "short",
                {"{{job}} {{instance}}": f'up{{{STAGE_JOBS}, instance=~"$instance"}}'},
                width=6, bad=1, low=True, decimals=0, alerts=("StageDown", "StageMissing"),
            ),
            Panel(
                "Restarts in the last hour",
                "How often the process at this address began anew.",
                "short",
                {"{{job}} {{instance}}": f"changes(process_start_time_seconds{_CHOSEN}[1h])"},
                width=6, warn=1, decimals=0,
            ),
            Panel(
                "Memory",
                "Resident set of each process.",
                "bytes",
                {"{{job}} {{instance}}": f"process_resident_memory_bytes{_CHOSEN}"},
                width=6,
            ),
            Panel(
                "CPU",
                "Cores in use, by process.",
                "short",
                {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{_CHOSEN}[$__rate_interval])"},
                width=6, decimals=2,
            ),
        ),
    },
    (Variable("instance", "instance", f'up{{{STAGE_JOBS}}}'),),
)  # fmt: skip
