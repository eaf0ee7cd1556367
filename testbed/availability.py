"""Which real parts can be had on this machine, and what to do about those that can't."""

from __future__ import annotations

import os
from typing import get_args

from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.part import Part, PartName
from testbed.postgres import Postgres
from testbed.prometheus import Prometheus
from testbed.registry import SchemaRegistry

PARTS: dict[PartName, type[Part]] = {
    "kafka": KafkaBroker,
    "registry": SchemaRegistry,
    "postgres": Postgres,
    "prometheus": Prometheus,
}
REQUIRE = "PENSTOCK_REQUIRE"
TOOLS = frozenset({"promtool", "amtool", "chromium"})
"""Programs that a test may need, and that PENSTOCK_REQUIRE may name as well."""


def missing_reason(part: PartName) -> str | None:
    """Why the part can't be had and how to get it; None when it can.

    Looks at this machine only, without the network: a part that Maven then can't fetch raises
    PartUnavailableError at its start. A broker named by KAFKA_BOOTSTRAP_SERVERS counts as had.
    """
    if part == "kafka" and ExternalKafka.from_environment() is not None:
        return None
    return PARTS[part].missing()


def required_parts() -> frozenset[PartName]:
    """The parts that PENSTOCK_REQUIRE names (a comma list): to lack one is then an error.

    ValueError for a name that is no part, and no tool.
    """
    names = _required()
    known: tuple[PartName, ...] = get_args(PartName)
    if unknown := names - set(known) - TOOLS:
        raise ValueError(f"{REQUIRE} names {sorted(unknown)}; the parts are {', '.join((*known, *sorted(TOOLS)))}")
    return frozenset(part for part in known if part in names)


def is_required(tool: str) -> bool:
    """Return whether PENSTOCK_REQUIRE names a program."""
    return tool in _required()


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get(REQUIRE, "").split(",")} - {""}
