"""Values reach SQL as bound parameters only. What is put into the text are names and constants of ours.

Ruff's S608 finds SQL that is made of pieces; here each exception must be one of names, never of a value.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ("penstock", "producers", "processors", "consumers", "referee")
FILES = sorted(path for stage in STAGES for path in (ROOT / stage).rglob("*.py"))
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|SET|CREATE|ALTER|DROP|TRUNCATE|GRANT|CALL)\s")


def spliced_literals(tree: ast.AST) -> Iterator[str]:
    """Yield the expressions that an f-string of SQL puts between quotes; a constant of ours may stand there."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                constant = isinstance(part.value, ast.Name) and part.value.id.isupper()
                inside_quotes = text.count("'") % 2 == 1
                if SQL.match(text) and inside_quotes and not constant:
                    yield ast.unparse(part.value)
                text += "x"


def formatted_sql(tree: ast.AST) -> Iterator[str]:
    """Yield SQL that is made with ``%`` or ``format``, where a reader can't tell names from values."""
    for node in ast.walk(tree):
        source: ast.expr | None = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            source = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            source = node.func.value
        if isinstance(source, ast.Constant) and isinstance(source.value, str) and SQL.match(source.value):
            yield source.value


def test_no_value_is_put_into_the_text_of_a_statement() -> None:
    assert len(FILES) > 100
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert (path, [*spliced_literals(tree), *formatted_sql(tree)]) == (path, [])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("f\"SELECT * FROM orders WHERE order_id = '{given}'\"", ["given"]),
        ("f\"SELECT * FROM orders WHERE city = 'x' AND order_id = 'o-{given.id}'\"", ["given.id"]),
        ("f\"SET lock_timeout = '{TIMEOUT_S}s'\"", []),
        ("f\"SELECT {columns} FROM {view} WHERE kind = 'it''s' AND id = :id\"", []),
        ("f\"SELECT 'x', {number:d} - size()\"", []),
        ("f\"topic '{name}' does not exist\"", []),
    ],
)
def test_the_scan_sees_what_it_looks_for(code: str, found: list[str]) -> None:
    assert list(spliced_literals(ast.parse(code))) == found
    assert list(formatted_sql(ast.parse("'SELECT %s' % given"))) == ["SELECT %s"]
