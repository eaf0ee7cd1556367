"""Avro's binary encoding of whole columns: each value's bytes in a cell of one width, with their length.

The rules are those of Avro 1.12, "Binary Encoding": integers as zig-zag varints, doubles little-endian, texts and
decimals behind their length, enums as the symbol's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_LOW_7, _MORE = np.uint64(0x7F), np.uint64(0x80)
_LONG_TEXT = 64
"""Bytes of a text whose length no longer is one byte."""


@dataclass(frozen=True)
class Cells:
    """``cells`` is two-dimensional, a row a value; of each row the first ``lengths`` bytes count."""

    cells: Bytes
    lengths: Ints

    @property
    def width(self) -> int:
        """Bytes of a cell: what a record must have room for."""
        width: int = self.cells.shape[1]
        return width

    def picked(self, codes: Ints) -> "Cells":
        """Return the cells of the rows ``codes``, which may come again."""
        return Cells(_as_units(self.cells)[codes].view(np.uint8).reshape(len(codes), self.width), self.lengths[codes])

    def lay(self, buffer: Bytes, at: Ints) -> None:
        """Write each whole cell at its place in ``buffer``, and move the places by the lengths."""
        if not len(at):
            return
        # Windows of a cell's width at every byte of the buffer: assigning to some of them copies a cell at a time,
        # which is ten times as fast as byte by byte.
        windows = np.ndarray((buffer.size - self.width + 1,), f"V{self.width}", buffer, strides=(1,))
        windows[at] = _as_units(self.cells)
        at += self.lengths


def _as_units(cells: Bytes) -> npt.NDArray[np.void]:
    return np.ascontiguousarray(cells).view(f"V{cells.shape[1]}").ravel()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Different texts, encoded once."""

    words: Sequence[str]

    @cached_property
    def cells(self) -> Cells:
        """Each word behind its length, in UTF-8."""
        return ragged([encoded(word) for word in self.words])

    def at(self, codes: Ints) -> "Texts":
        """Return the column whose rows are the words with these numbers."""
        return Texts(codes, self)


@dataclass(frozen=True)
class Texts:
    """A column of texts: ``codes`` are rows of a vocabulary; without one, ``codes`` is a matrix of bytes, a row a text.

    A text of a matrix has less than 64 bytes: the first ``lengths`` of its row (None: all).
    """

    codes: Ints | Bytes
    vocabulary: Vocabulary | None = None
    lengths: Ints | None = None

    def cells(self) -> Cells:
        """Return the texts behind their lengths."""
        if self.vocabulary is not None:
            return self.vocabulary.cells.picked(self.codes.astype(np.int64, copy=False))
        size, width = self.codes.shape
        lengths = np.full(size, width) if self.lengths is None else self.lengths
        cells = np.empty((size, width + 1), np.uint8)
        cells[:, 0] = 2 * lengths
        cells[:, 1:] = self.codes
        return Cells(cells, lengths + 1)

    def symbols(self, symbols: Sequence[str]) -> Cells:
        """Return the texts as symbols of an enum. Raises ValueError for a word that is none."""
        if self.vocabulary is None:
            raise TypeError("an enum's column needs a vocabulary")
        unknown = set(self.vocabulary.words) - set(symbols)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: none of the symbols {', '.join(symbols)}")
        places = np.array([symbols.index(word) for word in self.vocabulary.words], np.int64)
        return integers(places[self.codes])


def texts(words: Sequence[bytes]) -> Texts:
    """Return a column of any texts, given in UTF-8."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    width = int(lengths.max(initial=1))
    if width >= _LONG_TEXT:
        different = {word: code for code, word in enumerate(dict.fromkeys(words))}
        codes = np.fromiter(map(different.__getitem__, words), np.int64, len(words))
        return Vocabulary([word.decode() for word in different]).at(codes)
    padded = np.array(words, f"S{width}").view(np.uint8)
    return Texts(padded.reshape(len(words), width), lengths=lengths)


def encoded(word: str) -> bytes:
    """Return one text behind its length."""
    content = word.encode()
    length, prefix = 2 * len(content), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + content


def ragged(values: Sequence[bytes]) -> Cells:
    """Return cells of values of any lengths, none of them empty."""
    lengths = np.array([len(value) for value in values], np.int64)
    padded = np.array(values or [b"\0"], f"S{max(lengths, default=1)}")
    return Cells(padded.view(np.uint8).reshape(len(padded), -1)[: len(values)], lengths)


def constant(value: bytes, size: int) -> Cells:
    """Return ``size`` cells of the same bytes."""
    cells = np.frombuffer(value, np.uint8)
    return Cells(np.broadcast_to(cells, (size, len(value))), np.full(size, len(value)))


def integers(values: Ints) -> Cells:
    """Return zig-zag varints: seven bits a byte, the lowest first."""
    left = ((values << 1) ^ (values >> 63)).view(np.uint64)
    lengths = np.ones(len(values), np.int64)
    largest = int(left.max(initial=0))
    width = max(1, -(-largest.bit_length() // 7))
    for place in range(1, width):
        lengths += left >= np.uint64(1 << 7 * place)
    cells = np.empty((len(values), width), np.uint8)
    for place in range(width):
        cells[:, place] = left & _LOW_7 | np.where(lengths > place + 1, _MORE, np.uint64(0))
        left >>= np.uint64(7)
    return Cells(cells, lengths)


def doubles(values: npt.NDArray[np.float64] | Ints) -> Cells:
    """Return IEEE 754 doubles, little-endian."""
    cells = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return Cells(cells, np.full(len(values), 8))


def decimals(values: Ints) -> Cells:
    """Return unscaled integers, big-endian in two's complement, in as many bytes as their magnitude and a sign need.

    They must be more than -2**63.
    """
    magnitude = np.abs(values)
    sizes = np.ones(len(values), np.int64)
    widest = (int(magnitude.max(initial=0)).bit_length() + 8) // 8
    for size in range(1, widest):
        sizes += magnitude >= 1 << 8 * size - 1
    cells = np.empty((len(values), widest + 1), np.uint8)
    cells[:, 0] = 2 * sizes
    for place in range(widest):
        # Behind a shorter one's end the shift stays at 0: nobody looks at that byte.
        cells[:, place + 1] = values >> 8 * np.maximum(sizes - 1 - place, 0) & 0xFF
    return Cells(cells, sizes + 1)


def joined_cells(first: Cells, second: Cells) -> Cells:
    """Return the cells of both, one behind the other; all of ``first`` have their full width."""
    return Cells(np.concatenate((first.cells, second.cells), axis=1), first.lengths + second.lengths)
