"""How large the views' database is, and how much room it has left: so that a full disk is seen before it is full."""

import math
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from consumers.view_files import Figure
from penstock import telemetry
from penstock.settings import Settings

_SIZES = {
    "sqlite": "SELECT 'sqlite', page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT 'postgresql', pg_database_size(current_database())",
}


def room_figures(settings: Settings) -> list[Figure]:
    """Return what a query of the database itself tells of its size.

    Postgres does not say how large its disk is: what it has left is known where a setting says what it may hold.
    """
    kind = kind_of(settings)
    size, free = telemetry.DATABASE_SIZE, telemetry.DATABASE_FREE
    figures = [Figure(size.name, size.labels, size.help, _SIZES[kind])]
    capacity = settings.database_capacity_bytes
    if kind == "postgresql" and capacity is not None:
        sql = f"SELECT 'postgresql', {capacity:d} - pg_database_size(current_database())"  # a number
        figures.append(Figure(free.name, free.labels, free.help, sql))
    return figures


def show_free_disk(settings: Settings, registry: CollectorRegistry) -> None:
    """Show how much room the disk of a SQLite file has left, as of each scrape."""
    if kind_of(settings) != "sqlite":
        return
    folder = Path(settings.database_url.get_secret_value().removeprefix("sqlite:///")).absolute().parent
    telemetry.gauge(telemetry.DATABASE_FREE, registry).labels("sqlite").set_function(lambda: _free(folder))


def _free(folder: Path) -> float:
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:  # the folder is gone: the scrape must go on, and "not known" is what there is to say
        return math.nan


def kind_of(settings: Settings) -> str:
    """Return which kind of database it is: ``sqlite`` or ``postgresql``."""
    return "sqlite" if urlsplit(settings.database_url.get_secret_value()).scheme == "sqlite" else "postgresql"
