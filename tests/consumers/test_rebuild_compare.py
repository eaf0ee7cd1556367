"""Two builds of a table, however they are cut into pages, differ as two dictionaries do."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from consumers.rebuild_compare import Columns, Difference, Row, compare

COLUMNS = Columns(("a", "b", "x", "y"), 2)
_KEYS = st.tuples(st.integers(0, 4), st.sampled_from(("", "k", "ö")))
_CELLS = st.tuples(st.none() | st.integers(0, 1), st.none() | st.binary(max_size=1))
_TABLES = st.dictionaries(_KEYS, _CELLS, max_size=15)


def pages(table: dict[Row, Row], size: int) -> list[Sequence[Row]]:
    rows = [(*key, *table[key]) for key in sorted(table)]
    return [rows[at : at + size] for at in range(0, len(rows), size)]


@given(live=_TABLES, changes=_TABLES, gone=st.sets(_KEYS), size=st.integers(1, 6), limit=st.integers(0, 40))
def test_every_difference_is_counted_once(
    live: dict[Row, Row], changes: dict[Row, Row], gone: set[Row], size: int, limit: int
) -> None:
    new = {key: row for key, row in (live | changes).items() if key not in gone}
    told: list[int] = []
    found = compare(Difference("t"), COLUMNS, pages(live, size), pages(new, size), limit, told.append)
    changed = {key for key in live.keys() & new.keys() if live[key] != new[key]}
    assert (found.live_rows, found.new_rows, sum(told)) == (len(live), len(new), len(live) + len(new))
    assert (found.only_live, found.only_new) == (len(live.keys() - new.keys()), len(new.keys() - live.keys()))
    assert found.changed == len(changed)
    assert found.by_column["x"] == sum(live[key][0] != new[key][0] for key in changed)
    assert found.equal == (live == new)
    assert len(found.examples) == min(limit, len(live.keys() ^ new.keys()) + len(changed))


def test_a_text_among_the_numbers_of_a_key_is_a_row_like_any_other() -> None:
    columns = Columns(("n", "x"), 1)
    found = compare(Difference("t"), columns, [[(1, 0), ("1", 0)]], [[(1, 0), (2, 0)]], 9)
    assert [(each.kind, each.key) for each in found.examples] == [("only new", (2,)), ("only live", ("1",))]
