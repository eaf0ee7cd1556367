"""The limits on values: what a number, text or time must be, so that nothing gets past that no table could hold."""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from penstock.avro_types import kind_of, plain_type
from penstock.contracts import Schema

MAX_TEXT_BYTES = 1_000
"""Longer texts would not fit a database index."""

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10,000."""

FALSE, TRUE = b"\0", b"\1"


class Check(NamedTuple):
    """A mask of rows that are wrong, one of a few words, and a sentence. ``of_plain``: a plain record (see
    :mod:`penstock.avro_plain`) may be wrong as well."""

    wrong: pl.Expr
    reason: str
    detail: str
    of_plain: bool = True


def written_checks(written: Schema) -> Iterator[Check]:
    """Yield what Avro says of the writer's type and Polars does not check."""
    name, source, (kind, _) = written["name"], pl.col(written["name"]), kind_of(written["type"])
    if kind == "int":
        yield Check(~source.is_between(-(2**31), 2**31 - 1), "malformed", f"{name} has more than 32 bits")
    if kind == "boolean":
        wrong = (source != FALSE) & (source != TRUE)
        yield Check(wrong, "malformed", f"{name} is neither true nor false", of_plain=False)


def value_checks(source: pl.Expr, field: Schema) -> Iterator[Check]:
    """Yield the limits on values: what a number, text or time must be to be counted and kept."""
    name, (kind, _) = field["name"], kind_of(field["type"])
    if kind in ("string", "uuid"):
        too_long, nul = source.str.len_bytes() > MAX_TEXT_BYTES, source.str.contains("\0", literal=True)
        yield Check(too_long, "bad-text", f"{name} is longer than {MAX_TEXT_BYTES} bytes", of_plain=False)
        yield Check(nul, "bad-text", f"{name} has a NUL character", of_plain=False)
    if kind == "uuid":
        yield Check(source.str.len_bytes() != 36, "bad-text", f"{name} is no UUID")
    if kind == "enum":
        yield Check(~source, "out-of-range", f"{name} is no symbol of its enum")
    if kind == "timestamp":
        yield Check(~source.is_between(0, END_OF_TIME_MS - 1), "out-of-range", f"{name} is before 1970 or after 9999")
    if kind == "decimal":
        limit = 10 ** plain_type(field["type"])["precision"]
        yield Check(
            ~source.is_between(1 - limit, limit - 1), "out-of-range", f"{name} has more digits than its precision"
        )
    if kind in ("float", "double"):
        yield Check(~source.is_finite(), "not-a-number", f"{name} is no finite number")
    if "minimum" in field:
        low, high = field["minimum"], field["maximum"]
        yield Check(~source.is_between(low, high), "out-of-range", f"{name} is not in {low} to {high}")
