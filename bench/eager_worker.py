"""``penstock process`` with early results as often as a bench wants: ``python -m bench.eager_worker SECONDS``.

Only the bounds of the setting PENSTOCK_EARLY_RESULTS_INTERVAL_S are passed over; a worker is a worker otherwise.
"""

import os
import sys

from bench.bed import PENSTOCK


def command(early_s: float | None) -> list[str]:
    """Return the command of a worker; None: with the setting as it is."""
    return [*PENSTOCK, "process"] if early_s is None else [sys.executable, "-m", "bench.eager_worker", str(early_s)]


def main(early_s: float) -> int:
    """Run the worker until SIGTERM."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from penstock.log import configure_logging
    from penstock.settings import load_settings
    from processors.run import run

    settings = load_settings().model_copy(update={"early_results_interval_s": early_s})
    configure_logging(settings)
    return run(settings)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
