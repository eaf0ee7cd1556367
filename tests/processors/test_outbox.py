"""Results are the same bytes, whether they are encoded in columns or one by one."""

import random

import polars as pl
import pytest

from penstock.contracts import load_contracts
from penstock.metrics import METRICS, SLOTS, Metric
from penstock.schema_ids import LockedIds
from penstock.settings import load_settings
from processors import outbox
from processors.aggregate import _empty
from processors.fates import PANE
from processors.outbox import MANY, Origin, Outbox

MADE = 1_700_000_040_000
TEXTS = ("", "a", "É|:", "é" * 40, "x" * 200)
NUMBERS = (0, 1, 63, 64, -1, 10**17, -(10**12))


def column(name: str, kind: type[pl.DataType], nullable: bool, chance: random.Random) -> pl.Series:
    if name in SLOTS:
        return pl.Series(name, [chance.randrange(41) for _ in range(MANY)])
    if kind == pl.String:
        return pl.Series(name, chance.choices(TEXTS, k=MANY))
    numbers = chance.choices((*NUMBERS, None) if nullable else NUMBERS, k=MANY)
    return pl.Series(name, numbers, dtype=pl.Int64)


def rows_of(metric: Metric, seed: int) -> pl.DataFrame:
    chance = random.Random(seed)
    fields = {field["name"]: field["type"] for field in load_contracts()[metric.result].schema["fields"]}
    panes = pl.Series(PANE, chance.choices((0, 60_000, MADE), k=MANY))
    groups = [
        pl.Series(name, chance.choices(range(600), k=MANY)) if fields[name] != "string"
        else pl.Series(name, chance.choices(TEXTS, k=MANY))
        for name in metric.group
    ]  # fmt: skip
    measured = [
        column(name, kind, isinstance(fields.get(name.removesuffix("_e4")), list), chance)
        for measure in metric.measures
        for name, kind in pl.select(_empty(measure)).schema.items()
    ]
    return pl.DataFrame([panes, *groups, *measured])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_results_in_columns_are_the_bytes_of_those_one_by_one(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, origin = Outbox(load_settings(), load_contracts(), LockedIds()), Origin(metric.topic, "topic-id", 3)
    for seed, final in ((1, True), (2, False), (3, True)):
        rows = rows_of(metric, seed)
        in_columns = box.results(metric, rows, origin, 77, final=final)
        with monkeypatch.context() as patch:
            patch.setattr(outbox, "MANY", MANY + 1)
            assert box.results(metric, rows, origin, 77, final=final) == in_columns
