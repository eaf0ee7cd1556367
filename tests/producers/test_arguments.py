import pytest

from penstock.errors import UsageError
from producers.arguments import disorder_ms, duration_ms, share


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1.5s", 1_500), ("1h", 3_600_000), ("0", 0), ("0s", 0)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, milliseconds: int) -> None:
    assert duration_ms("--duration", text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "5 minutes", "1e3s", "٣s "])
def test_a_wrong_duration_is_told_with_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        duration_ms("--timeout", text)


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.1%", 0.001), ("0.01", 0.01), (".5", 0.5), ("100%", 1.0), ("0", 0.0)]
)
def test_a_share_is_a_percentage_or_a_fraction(text: str, value: float) -> None:
    assert share("--late", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "101%", "1.01", "-1%", "one", "1%%"])
def test_a_wrong_share_is_told_with_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--late"):
        share("--late", text)


def test_more_disorder_than_keeps_events_in_time_is_refused() -> None:
    assert disorder_ms("--disorder", "8s") == 8_000
    with pytest.raises(UsageError, match="at most 8s"):
        disorder_ms("--disorder", "8001ms")
