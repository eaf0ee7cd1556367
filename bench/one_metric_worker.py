"""``penstock process`` with some of the metrics: ``python -m bench.one_metric_worker NAME…``.

Everything else is on: duplicates, lateness, books, frontier commits. :data:`BY_COUNTRY` is the job that is compared
with other systems: orders, revenue and the largest order by minute and country, and nothing of the items.
"""

import os
import sys

from penstock.metrics import METRICS, Measure, Metric

BY_COUNTRY = Metric(
    "order_metrics", "orders", "OrderMetrics", "order-metrics", ("country",),
    (
        Measure("orders", "count", "OrderPlaced"),
        Measure("revenue_e4", "sum", "OrderPlaced", "amount_e4"),
        Measure("largest_order_e4", "max", "OrderPlaced", "amount_e4"),
        # The result's contract wants these; no event of the bench brings any.
        Measure("units", "count", "OrderCancelled"),
        Measure("cancellations", "count", "OrderCancelled"),
        Measure("cancelled_e4", "sum", "OrderCancelled", "amount_e4"),
    ),
)  # fmt: skip

CHOICES = {"by_country": BY_COUNTRY, **{metric.name: metric for metric in METRICS}}


def main(names: list[str]) -> int:
    """Run the worker until SIGTERM."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from penstock.log import configure_logging
    from penstock.settings import load_settings
    from processors.run import run

    settings = load_settings()
    configure_logging(settings)
    return run(settings, tuple(CHOICES[name] for name in names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
