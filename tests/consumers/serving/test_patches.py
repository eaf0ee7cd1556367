"""Merge patches: a reader that applies them has what the server has."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumers.serving.patches import difference, patched

LISTS = st.lists(st.integers(0, 2), max_size=2)
SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2), LISTS)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), SCALARS, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), SCALARS | inner, max_size=4),
    max_leaves=12,
)


def exactly(value: Any) -> Any:
    """Tell 1 from True, which are equal to Python and not to JSON."""
    if isinstance(value, dict):
        return {name: exactly(one) for name, one in value.items()}
    return [exactly(one) for one in value] if isinstance(value, list) else (type(value), value)


@given(OBJECTS, OBJECTS)
def test_the_difference_makes_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert exactly(patched(before, difference(before, after))) == exactly(after)


@given(OBJECTS)
def test_nothing_is_said_of_what_did_not_change(state: dict[str, Any]) -> None:
    assert difference(state, dict(state)) == {}


@given(OBJECTS, OBJECTS, OBJECTS)
def test_patches_may_be_applied_one_after_the_other(one: Any, two: Any, three: Any) -> None:
    assert exactly(patched(patched(one, difference(one, two)), difference(two, three))) == exactly(three)
