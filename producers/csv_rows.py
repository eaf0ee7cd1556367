"""Reading CSV files a row at a time; a row that is wrong is told by file, line and reason, and the rest go on."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from penstock.errors import UsageError
from producers.events import Event

if TYPE_CHECKING:
    import _csv

T = TypeVar("T")

_MAX_TEXT_BYTES = 1_000


class WrongRow(Exception):  # it is the row that is wrong
    """A row that can't be read; the message says why."""


class Row(NamedTuple):
    """A row: its file's name, the number of its last line, and the values of the columns that were asked for."""

    file: str
    line: int
    values: Sequence[str]


@dataclass
class Gathered:
    """What files of history hold: events in event-time order, rows that are no event, and rows that are wrong."""

    events: list[Event] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """Rows that the rules leave out, by reason."""
    malformed: list[str] = field(default_factory=list)
    """``file:line: reason`` of each row that can't be read."""

    def skip(self, reason: str) -> None:
        """Count a row that the rules leave out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def wrong(self, row: Row, reason: object) -> None:
        """Note a row that can't be read."""
        self.malformed.append(f"{row.file}:{row.line}: {reason}")


def rows_of(name: str, lines: Iterable[str], columns: Sequence[str], gathered: Gathered) -> Iterator[Row]:
    """Yield the rows of a CSV file called ``name``; wrong ones go to ``gathered``.

    Raises :class:`UsageError` when the header lacks one of ``columns``: it is another kind of file.
    """
    reader = csv.reader(lines, strict=True)
    header = next(_guarded(reader, name, gathered), [])
    missing = [column for column in columns if column not in header]
    if missing:
        raise UsageError(f"{name}: no column {', '.join(missing)}; the first line must name {', '.join(columns)}")
    wanted = [header.index(column) for column in columns]
    for cells in _guarded(reader, name, gathered):
        row = Row(name, reader.line_num, cells)
        if len(cells) != len(header):
            if cells:  # a blank line is no row
                gathered.wrong(row, f"{len(cells)} columns in place of {len(header)}")
            continue
        yield row._replace(values=[cells[index] for index in wanted])


def _guarded(reader: "_csv.Reader", name: str, gathered: Gathered) -> Iterator[list[str]]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            gathered.wrong(Row(name, reader.line_num, ()), error)


def open_all(paths: Sequence[Path]) -> list[tuple[str, list[str]]]:
    """Read the files whole: name and lines of each. Raises :class:`UsageError` for one that can't be read.

    Events get their ids from the files' names, so two files of one name are refused.
    """
    names = [path.name for path in paths]
    for path in paths:
        if names.count(path.name) > 1:
            raise UsageError(f"{path}: given twice by that name; event ids come from file names")
    return [(path.name, _lines(path)) for path in paths]


def _lines(path: Path) -> list[str]:
    try:
        # Bytes that are no UTF-8 must not end the replay: a value that holds one is refused by `text`.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return list(file)
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None


def text(name: str, value: str) -> str:
    """Return a text that the contracts allow, or raise :class:`WrongRow`."""
    if not value.strip():
        raise WrongRow(f"{name} is empty")
    if "\0" in value or "\ufffd" in value or len(value.encode()) > _MAX_TEXT_BYTES:
        raise WrongRow(f"{name} {value[:40]!r} is no text of at most {_MAX_TEXT_BYTES} bytes of UTF-8")
    return value


def time_ms(name: str, value: str) -> int:
    """Return an ISO 8601 time, UTC where it doesn't say, in milliseconds; or raise :class:`WrongRow`."""
    moment = parsed(name, value, datetime.fromisoformat)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    at = round(moment.timestamp() * 1_000)
    if at < 0:
        raise WrongRow(f"{name} {value!r} is before 1970")
    return at


def parsed(name: str, value: str, parse: Callable[[str], T]) -> T:
    """Return ``parse(value)``, or raise :class:`WrongRow`."""
    try:
        return parse(value)
    except (ValueError, ArithmeticError):
        raise WrongRow(f"{name} {value[:40]!r} can't be read") from None
