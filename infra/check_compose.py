"""``make check-compose``: prove the compose stack on this machine, from nothing to nothing.

Brings the stack up under a project name and ports of its own and asserts, each with a deadline: all is healthy; every
stage is scraped and the business figures are in Prometheus; the views in Postgres have rows, and more as time goes on;
``penstock verify`` is green; every query of the dashboards has an answer and no alert fires. Then takes the stack
down, brings it up again, and asserts that nothing was lost. Then kills each stage in turn, and asserts that its alert
fires, reaches Alertmanager, and clears when the stage is back.
Prints PASS and ends with 0, or FAIL with the reason and 1. Its volumes are removed in the end.
"""

import argparse
import sys
import time
from decimal import Decimal
from typing import Any, Final

from infra.check_alerts import check_alerts, check_dashboards, check_rules, check_silence
from infra.checking import CheckError, say, step, until
from infra.compose_stack import Stack
from infra.written import containers, targets

FIGURES = ("orders", "orders_placed", "revenue", "units", "readings", "devices", "late_events", "dead_letters")
"""Business gauges that must be above 0."""

GROWING: tuple[str, ...] = ("orders", "order_metrics", "product_sales", "telemetry_metrics", "pane_counts")
GROWING += ("late_events", "dead_letters", "reading_quantiles", "distinct_customers")
"""Relations that must have rows, and more as time goes on."""

ROWS_DEADLINE_S = 240
CLOSED_DEADLINE_S = 300


def business(stack: Stack, name: str) -> float | None:
    """Return a business figure from Prometheus, summed over its labels; None when there is none yet."""
    return stack.figure(f"sum(max without (instance) (penstock_business_{name}))")


def check_measured(stack: Stack) -> None:
    """Every stage is scraped, the business figures are there, and the books balance."""

    def scraped() -> dict[str, int]:
        up: dict[str, int] = {}
        for target in stack.prometheus("targets", state="active")["activeTargets"]:
            up[target["labels"]["job"]] = up.get(target["labels"]["job"], 0) + (target["health"] == "up")
        return up

    until("every target is up in Prometheus", scraped, targets().__eq__, 60)

    def figures() -> dict[str, float | None]:
        return {name: business(stack, name) for name in FIGURES}

    found = until(
        "business figures are above 0", figures, lambda seen: all((v or 0) > 0 for v in seen.values()), ROWS_DEADLINE_S
    )
    say("  ".join(f"{name}={value:,.0f}" for name, value in found.items() if value is not None))
    imbalance = "max(abs(penstock_books_imbalance_events))"
    until("the books balance in Prometheus", lambda: stack.figure(imbalance), lambda value: value == 0, 60)
    folded = "count(count by (topic, partition) (penstock_books_events))"
    until("the books of all 8 source partitions are shown", lambda: stack.figure(folded), lambda n: n == 8, 60)


def row_counts(stack: Stack) -> dict[str, int]:
    """Return the number of rows by relation."""
    return {name: stack.count(name) for name in (*GROWING, "devices")}


def check_views(stack: Stack) -> None:
    """The relations have rows, and more as time goes on; Prometheus and Postgres agree on a figure."""

    def counts() -> dict[str, int]:
        return row_counts(stack)

    first = until("every view has rows", counts, lambda rows: min(rows.values()) > 0, ROWS_DEADLINE_S)

    def grown(rows: dict[str, int]) -> bool:
        return all(rows[name] > first[name] for name in GROWING)

    rows = until("every view gets more rows", counts, grown, ROWS_DEADLINE_S)
    say("  ".join(f"{name}={count:,}" for name, count in rows.items()))
    low = orders_placed(stack)
    shown = until(
        "Prometheus has caught up with Postgres", lambda: business(stack, "orders_placed"),
        lambda value: value is not None and value >= low, 60,
    )  # fmt: skip
    high = orders_placed(stack)
    if shown is None or not low <= shown <= high:
        raise CheckError(f"orders placed: Prometheus says {shown}, Postgres {low} before it and {high} after")


def check_served(stack: Stack) -> None:
    """The live page is there, and the API tells of an order what the view holds."""
    page = stack.served("/")
    if "text/html" not in page.headers["content-type"]:
        raise CheckError(f"the live page is {page.headers['content-type']}")
    # A cancelled order changes no more.
    chosen = "SELECT order_id, country, amount FROM orders WHERE status = 'cancelled' AND placed_at IS NOT NULL LIMIT 1"
    rows = until("an order is cancelled", lambda: stack.sql(chosen), lambda found: len(found) > 0, ROWS_DEADLINE_S)
    order_id, country, amount = rows[0]
    told = stack.served(f"/api/orders/{order_id}").json()
    if (told["status"], told["country"], Decimal(told["amount"])) != ("cancelled", country, Decimal(amount)):
        raise CheckError(f"order {order_id}: Postgres says {country} {amount}, the API {told}")
    say(f"the live page is there; its API and Postgres agree on order {order_id}")


def orders_placed(stack: Stack) -> int:
    """Return the orders placed of all time, from the view."""
    return int(stack.sql("SELECT coalesce(sum(orders), 0) FROM order_metrics")[0][0])


# Minutes that are closed on every partition, the newest of them left out (its rows may still be on their way to the
# view): no row of theirs may ever change.
CLOSED_ROWS: Final = """
WITH newest AS (
  SELECT partition, max(window_start) AS final_until FROM pane_counts
  WHERE source_topic = 'orders' AND final GROUP BY partition
)
SELECT window_start, country, orders, revenue, largest_order, units, cancellations, cancelled FROM order_metrics
WHERE window_start < (SELECT min(final_until) FROM newest HAVING count(*) = 4)
"""
OFFSETS: Final = "SELECT view, topic, partition, next FROM offsets"


def check_proved(stack: Stack) -> None:
    """``penstock verify`` is green while events come in, with minutes that are closed among what it proves."""
    until("minutes are closed", lambda: stack.sql(CLOSED_ROWS), lambda rows: len(rows) > 0, CLOSED_DEADLINE_S)
    for line in stack.penstock("verify").strip().splitlines()[-25:]:
        say(line)


def state(stack: Stack) -> tuple[dict[str, int], dict[Any, int], set[Any], dict[str, int]]:
    """Return what must survive: row counts, offsets of the views, closed rows, schema ids."""
    closed = set(stack.sql(CLOSED_ROWS))
    return row_counts(stack), {row[:-1]: row[-1] for row in stack.sql(OFFSETS)}, closed, stack.schema_ids()


def check_nothing_lost(stack: Stack) -> None:
    """Down and up again: closed rows are the same, nothing goes back, ids stay, events flow, ``verify`` is green."""
    with step("down, volumes stay"):
        rows, offsets, closed, ids = state(stack)
        stack.down()
    with step("up again"):
        stack.up()
        until("all is healthy", stack.healthy, containers().__eq__, 60)
    with step("nothing is lost"):
        rows_now, offsets_now, closed_now, ids_now = state(stack)
        lost = [f"{name}: {count} rows, now {rows_now[name]}" for name, count in rows.items() if rows_now[name] < count]
        behind = {key: at for key, at in offsets.items() if offsets_now.get(key, 0) < at}
        lost += [f"offset of {key}: {at}, now {offsets_now.get(key)}" for key, at in behind.items()]
        lost += [f"closed row {row} is gone or changed" for row in closed - closed_now]
        lost += [] if ids_now == ids else [f"schema ids were {ids}, now {ids_now}"]
        if lost:
            raise CheckError("\n".join(("lost by down and up:", *lost)))
        say(f"{len(closed):,} closed rows, {len(offsets)} offsets and {len(ids)} schema ids are there as before")
        check_measured(stack)
        check_views(stack)
        check_proved(stack)


def check(stack: Stack, drills: bool = True) -> None:
    """All of it, in order. Raises :class:`CheckError` at the first thing that does not hold."""
    with step("up, from nothing"):
        stack.down("-v")
        stack.up()
        until("all is healthy", stack.healthy, containers().__eq__, 60)
    with step("Prometheus"):
        check_measured(stack)
    with step("Postgres"):
        check_views(stack)
    with step("the live page"):
        check_served(stack)
    with step("penstock verify"):
        check_proved(stack)
    with step("rules and dashboards"):
        check_rules(stack)
        check_dashboards(stack)
    check_nothing_lost(stack)
    with step("silence"):
        check_silence(stack)
    if drills:
        check_alerts(stack)


def main() -> int:
    """Run the check; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave the stack as it is in the end, to look at it")
    parser.add_argument("--no-drills", action="store_true", help="do not kill each stage to see its alert")
    options = parser.parse_args()
    stack, began, reason = Stack(), time.monotonic(), ""
    try:
        check(stack, drills=not options.no_drills)
    except CheckError as error:
        reason = str(error)
        for diagnosis in (("logs", "--tail", "15", "--no-color"), ("ps", "-a")):
            sys.stdout.write(stack.compose(*diagnosis))
    finally:
        if not options.keep:
            stack.down("-v")
    sys.stdout.write(f"\n{reason}\n{'FAIL' if reason else 'PASS'} in {time.monotonic() - began:.0f} s\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
