"""What the simulation found out about views, as tests of their own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SET_BACK = """
import sqlite3
from contextlib import closing
from dataclasses import replace
from simulation import schedule
from simulation.director import Director
from simulation.plan import plan_of

def set_back(self):
    with closing(sqlite3.connect(self.database)) as live:
        live.execute("UPDATE offsets SET next = 0")
        live.execute("DELETE FROM orders_v1")
        live.commit()

calm = Director._unsettled
times = []

def unsettled(self):
    found = calm(self)
    if not found and not times:
        times.append(self.world.turns)
        set_back(self)
        return "set back"
    return found

Director._unsettled = unsettled
schedule.prepare_process()
orders = next(plan for plan in map(plan_of, range(1000)) if plan.topic == "orders" and not plan.born_trimmed)
outcome = schedule.run(replace(orders, rates={}, views=("orders",)))
print(outcome.violations, len(times), outcome.turns - times[0])
"""


def test_a_database_that_is_set_back_while_no_record_comes_is_brought_up_to_date_again() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SET_BACK], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    violations, times, turns = ran.stdout.rsplit(maxsplit=2)
    assert (violations, times) == ("()", "1"), ran.stderr
    assert int(turns) > 0
