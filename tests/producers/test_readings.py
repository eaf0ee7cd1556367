from pathlib import Path

import pytest

from penstock.contracts import load_contracts
from penstock.errors import UsageError
from producers.csv_rows import Gathered, open_all
from producers.readings import gather, sensor_of

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "numenta").glob("*.csv"))


def of(*rows: str, name: str = "office.csv") -> Gathered:
    return gather([(name, [f"{line}\n" for line in ("timestamp,value", *rows)])], "TEMPERATURE", "fahrenheit")


def test_a_row_is_a_reading_of_the_device_that_the_file_is_named_after() -> None:
    (event,) = of("2013-07-04 00:00:00,69.88083514").events
    event.fields.pop("event_id")
    assert event.record == "ReadingTaken"
    assert event.key == "office"
    assert event.fields == {
        "occurred_at": 1_372_896_000_000,
        "source": "penstock-replay",
        "device_id": "office",
        "sensor": "TEMPERATURE",
        "value": 69.88083514,
        "unit": "fahrenheit",
    }


def test_two_readings_of_one_moment_have_two_ids_and_a_second_replay_has_the_same() -> None:
    rows = ("2013-07-04 00:00:00,1", "2013-07-04 00:00:00,1")
    first, second = (event.fields["event_id"] for event in of(*rows).events)
    assert first != second
    assert [event.fields["event_id"] for event in of(*rows).events] == [first, second]


@pytest.mark.parametrize("row", ["2013-07-04 00:00:00,warm", "2013-07-04 00:00:00,nan", "2013-07-04 00:00:00,inf",
                                 "2013-07-04 00:00:00,1e10", "today,1", "2013-07-04 00:00:00", ",1"])  # fmt: skip
def test_a_row_that_cannot_be_read_is_told_and_the_others_go_on(row: str) -> None:
    gathered = of("2013-07-04 00:00:00,1", row, "2013-07-04 00:01:00,2")
    assert [event.fields["value"] for event in gathered.events] == [1, 2]
    assert [line.partition(": ")[0] for line in gathered.malformed] == ["office.csv:3"]


def test_a_blank_line_is_no_row() -> None:
    gathered = of("2013-07-04 00:00:00,1", "", "2013-07-04 00:01:00,2")
    assert (len(gathered.events), gathered.malformed) == (2, [])


def test_the_readings_of_all_files_go_in_event_time_order() -> None:
    gathered = gather(open_all(SAMPLES), "SPEED", "mph")
    times = [event.occurred_at for event in gathered.events]
    assert times == sorted(times)
    assert len(times) == 800
    assert {event.key for event in gathered.events} == {path.stem for path in SAMPLES}


def test_two_files_of_one_device_are_refused() -> None:
    with pytest.raises(UsageError, match="device a already"):
        gather([("a.csv", ["timestamp,value\n"]), ("a.txt", ["timestamp,value\n"])], "CPU", "percent")


def test_a_sensor_is_a_symbol_of_the_contract_in_any_case() -> None:
    contract = load_contracts()["ReadingTaken"]
    assert sensor_of("temperature", contract) == "TEMPERATURE"
    assert sensor_of("hold-time", contract) == "HOLD_TIME"
    with pytest.raises(UsageError, match="--sensor: 'mood' is none of unknown, temperature"):
        sensor_of("mood", contract)
