"""Randomness that can be looked up: a draw is a hash of the seed, a purpose and a number, in columns.

So the n-th order is the same however many are made at a time, and what is needed again later need not be kept.
Source of the hash: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), whose
n-th output is a function of n.
"""

import random
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXES = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
    (np.uint64(31), np.uint64(1)),
)
_TO_53_BITS = np.uint64(11)

# Two hexadecimal digits, and four decimal ones, as one number of as many bytes: that is fast to look up.
_HEX = np.frombuffer(b"".join(b"%02x" % value for value in range(256)), np.uint16)
_DECIMAL = np.frombuffer(b"".join(b"%04d" % value for value in range(10_000)), np.uint32)

_GROUPS_OF_UUID = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))

_GRID = 1 << 16


def stream_of(seed: int, purpose: str) -> random.Random:
    """Return a source of randomness for rare things, one after the other."""
    return random.Random(f"{seed}/{purpose}")  # noqa: S311  # a model, no secret


class Draws:
    """The draws of one purpose."""

    def __init__(self, seed: int, purpose: str) -> None:
        digest = sha256(f"{seed}/{purpose}".encode()).digest()
        self._key = np.uint64(int.from_bytes(digest[:8], "big"))

    def bits(self, numbers: Ints) -> npt.NDArray[np.uint64]:
        """Return 64 random bits for each of ``numbers``."""
        drawn = numbers.astype(np.uint64)
        drawn *= _GOLDEN
        drawn += self._key
        for shift, factor in _MIXES:
            drawn ^= drawn >> shift
            drawn *= factor
        return drawn

    def uniform(self, numbers: Ints) -> Floats:
        """Return a number of [0, 1) for each of ``numbers``."""
        drawn: Floats = (self.bits(numbers) >> _TO_53_BITS) * np.float64(2.0**-53)
        return drawn

    def exponential(self, numbers: Ints) -> Floats:
        """Return a waiting time of mean 1 for each of ``numbers``."""
        return -np.log1p(-self.uniform(numbers))

    def uuids(self, numbers: Ints) -> Bytes:
        """Return the text of a UUID of version 4 for each of ``numbers``: 36 bytes a row."""
        halves = np.empty((len(numbers), 2), np.uint64)
        halves[:, 0] = self.bits(2 * numbers)
        halves[:, 1] = self.bits(2 * numbers + 1)
        octets = halves.view(np.uint8)
        octets[:, 6] = octets[:, 6] & 0x0F | 0x40
        octets[:, 8] = octets[:, 8] & 0x3F | 0x80
        digits = _HEX[octets].view(np.uint8)
        text = np.full((len(numbers), 36), ord("-"), np.uint8)
        for dashes, (begin, end) in enumerate(_GROUPS_OF_UUID):
            text[:, begin + dashes : end + dashes] = digits[:, begin:end]
        return text


class Choice:
    """A choice of 0 to n - 1 by weight."""

    def __init__(self, weights: Sequence[float] | Floats) -> None:
        sums = np.cumsum(np.asarray(weights, np.float64))
        self._sums = sums[:-1] / sums[-1]
        self._grid = self._sought(np.arange(_GRID + 1) / _GRID)

    def of(self, uniform: Floats) -> Ints:
        """Return the choice that each number of [0, 1) stands for."""
        # Where both borders of a number's cell stand for one choice so does the number: most need no search.
        cells = (uniform * _GRID).astype(np.int64)
        chosen = self._grid[cells]
        open_ = np.flatnonzero(chosen != self._grid[cells + 1])
        chosen[open_] = self._sought(uniform[open_])
        return chosen

    def _sought(self, uniform: Floats) -> Ints:
        chosen: Ints = self._sums.searchsorted(uniform, side="right")
        return chosen


def zipf_weights(count: int, exponent: float = 1.0) -> Floats:
    """Return the weights of ranks 1 to ``count`` under Zipf's law: rank to the power of minus ``exponent``."""
    weights: Floats = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights


def numbered(prefix: str, numbers: Ints, digits: int) -> Bytes:
    """Return ``prefix`` and each number in ``digits`` digits (of a longer number the last ones), a row a number."""
    groups = -(-digits // 4)
    text = np.empty((len(numbers), groups), np.uint32)
    left = numbers
    for group in reversed(range(groups)):
        left, part = np.divmod(left, 10_000)
        text[:, group] = _DECIMAL[part]
    whole = np.empty((len(numbers), len(prefix) + digits), np.uint8)
    whole[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    whole[:, len(prefix) :] = text.view(np.uint8)[:, groups * 4 - digits :]
    return whole
