"""Cursors over the bytes of many Avro records, all moved at once, and the values at places in these bytes.

Integers are Avro's zig-zag varints; a length is one as well. Only what is short is read: see :class:`Cursor`.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from penstock.arrow_text import Bools, Ints, Words

MAX_TEXT_BYTES = 256
"""Longer texts are not plain: all texts of a column are copied at the width of the longest."""

MAX_DECIMAL_BYTES = 8

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_PADDING = bytes(MAX_TEXT_BYTES + 16)
_U1 = np.uint64(1)
_SQUEEZE = tuple(
    (np.uint64(shift), np.uint64(low), np.uint64(high))
    for shift, low, high in (
        (1, 0x007F007F007F007F, 0x7F007F007F007F00),
        (2, 0x00003FFF00003FFF, 0x3FFF00003FFF0000),
        (4, 0x000000000FFFFFFF, 0x0FFFFFFF00000000),
    )
)
"""Steps that bring groups of 7 bits together: first two and two, then four, then eight."""


class Bytes:
    """The members of a batch, one behind the other: member ``n`` is at ``starts[n]`` to ``ends[n]``."""

    def __init__(self, members: Iterable[bytes], lengths: Ints) -> None:
        self.ends: Ints = np.cumsum(lengths)
        self.starts: Ints = self.ends - lengths
        self._data = b"".join((*members, _PADDING))
        self.single = np.frombuffer(self._data, np.uint8)
        self._words = self._window(8)

    def words(self, at: Ints) -> Words:
        """Return the 8 bytes at each place, the first lowest."""
        return self._words[at].view("<u8")

    def wide(self, at: Ints, width: int) -> Words:
        """Return ``width`` bytes (a multiple of 8) at each place: a row a place."""
        return self._window(width)[at].view("<u8").reshape(len(at), width // 8)

    def _window(self, width: int) -> npt.NDArray[np.void]:
        # All places overlap; a void has no alignment, so that numpy copies only what is asked for.
        return np.ndarray((len(self._data) - width + 1,), f"V{width}", self._data, strides=(1,))


class Column(NamedTuple):
    """What a cursor found of a field: its values, or where they are (``first``, with their length).

    Where not ``there`` it is null (None: nowhere).
    """

    first: Ints
    length: Ints | None = None
    there: Bools | None = None


class Cursor:
    """A place in each of many members. Those with anything that is not plain become ``bad``, and are read no more.

    ``at`` never passes ``end``.
    """

    def __init__(self, data: Bytes, at: Ints, end: Ints) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.bad: Bools = np.zeros(len(at), np.bool_)

    def part(self, rows: Ints) -> Self:
        """Return a cursor over some of the members; :meth:`merge` takes back where it got to."""
        return type(self)(self.data, self.at[rows], self.end[rows])

    def merge(self, rows: Ints, part: "Cursor") -> None:
        """Go on from where ``part`` is."""
        self.at[rows] = part.at
        self.refuse_rows(rows[part.bad])

    def refuse(self, wrong: Bools) -> bool:
        """Refuse members; return if there are any."""
        if not wrong.any():
            return False
        self.bad |= wrong
        return True

    def refuse_rows(self, rows: Ints) -> None:
        """Refuse members by their numbers."""
        self.bad[rows] = True

    def skip(self, count: "Ints | int") -> None:
        """Move on; who has not so many bytes left is refused."""
        self.at += count
        over = self.at > self.end
        if self.refuse(over):
            self.at[over] = self.end[over]

    def byte(self) -> npt.NDArray[np.uint8]:
        """Read one byte."""
        value = self.data.single[self.at]
        self.skip(1)
        return value

    def long(self) -> Ints:
        """Read a number of up to 8 bytes."""
        first = self.data.single[self.at]
        if not (first >= 0x80).any():
            self.skip(1)
            raw = first.astype(np.int64)
            return (raw >> 1) ^ -(raw & 1)
        words = self.data.words(self.at)
        stops = ~words & _HIGH
        if self.refuse(endless := stops == 0):
            stops[endless] = 0x80
        stop = stops & (~stops + _U1)
        words &= ((stop << _U1) - _U1) & _LOW
        for shift, low, high in _SQUEEZE:
            words = (words & low) | ((words & high) >> shift)
        self.skip((np.bitwise_count(stop - _U1).astype(np.int64) + 1) >> 3)
        raw = words.view(np.int64)
        return (raw >> 1) ^ -(raw & 1)

    def span(self, low: int, high: int) -> Column:
        """Move over bytes with their length, of ``low`` to ``high``, in front."""
        first = self.data.single[self.at]
        if (first & 0x81).any():  # more than a byte, or negative
            length = self.long()
        else:
            self.skip(1)
            length = (first >> 1).astype(np.int64)
        if self.refuse(wrong := (length < low) | (length > high)):
            length[wrong] = low
        at = self.at.copy()
        self.skip(length)
        return Column(at, length)


def texts_at(data: Bytes, found: Column) -> tuple[Words, Ints, Bools | None]:
    """Return texts, each padded with zero bytes to the same multiple of 8 (of 16 at least), and their lengths; and
    which have other bytes than ASCII from 1 to 127 (None: none has): those are left empty."""
    lengths = _lengths(found)
    longest = int(lengths.max(initial=0))
    width = max(-(-longest // 8), 2) * 8
    words = data.wide(found.first, width)
    mask = _masks(width)[longest if (lengths == longest).all() else lengths]
    words &= mask
    filled = words | (~mask & _ONES)  # so that what pads is no NUL
    odd = filled - _ONES
    odd |= filled
    odd &= _HIGH
    if not odd.any():
        return words, lengths, None
    rows: Bools = np.asarray(odd.any(axis=1))
    words[rows] = 0
    return words, np.where(rows, 0, lengths), rows


def decimals_at(data: Bytes, found: Column) -> Ints:
    """Return integers of 1 to 8 bytes, big-endian, two's complement."""
    return data.words(found.first).byteswap().view(np.int64) >> (64 - 8 * _lengths(found))


def doubles_at(data: Bytes, found: Column) -> npt.NDArray[np.float64]:
    """Return doubles."""
    return data.words(found.first).view("<f8")


def _lengths(found: Column) -> Ints:
    if found.length is None:
        raise TypeError("a column of values has no lengths")
    return found.length


_known_masks: dict[int, Words] = {}


def _masks(width: int) -> Words:
    """Return, by length, the mask of that many bytes of ``width``."""
    if width not in _known_masks:
        inside = np.arange(width) < np.arange(width + 1)[:, None]
        _known_masks[width] = np.where(inside, np.uint8(0xFF), np.uint8(0)).view("<u8")
    return _known_masks[width]
