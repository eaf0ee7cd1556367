"""`python -m testbed`: start each real part, print its address and how long it took to be ready."""

from __future__ import annotations

import sys

from testbed.availability import PARTS
from testbed.kafka import KafkaBroker
from testbed.part import Part
from testbed.postgres import Postgres
from testbed.prometheus import Prometheus
from testbed.registry import SchemaRegistry


def address(part: Part) -> str:
    """What a client connects to."""
    match part:
        case KafkaBroker():
            return part.bootstrap_servers
        case SchemaRegistry() | Postgres() | Prometheus():
            return part.url
        case _:
            raise TypeError(f"no address is known for {part!r}")


def measure(kind: type[Part]) -> str:
    """Start a part twice, the second time after a kill, and tell how long each took."""
    reason = kind.missing()
    if reason is not None:
        return f"{kind.name}: missing. {reason}"
    with kind() as part:
        first = part.start_seconds
        part.kill()
        part.start()
        return (
            f"{part.name}: {address(part)}, ready in {first:.1f} s, after a kill {part.start_seconds:.1f} s"
        )


if __name__ == "__main__":
    for kind in PARTS.values():
        sys.stdout.write(f"{measure(kind)}\n")
        sys.stdout.flush()
