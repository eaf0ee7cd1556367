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

_HEX = np.array([list(f"{value:02x}".encode()) for value in range(256)], np.uint8)
_DECIMAL = np.array([list(f"{value:03}".encode()) for value in range(1_000)], np.uint8)

_DASHES = (8, 13, 18, 23)
_DIGITS_OF_UUID = np.array([place for place in range(36) if place not in _DASHES])


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
        text = np.full((len(numbers), 36), ord("-"), np.uint8)
        text[:, _DIGITS_OF_UUID] = _HEX[octets].reshape(len(numbers), 32)
        return text


class Choice:
    """A choice of 0 to n - 1 by weight."""

    def __init__(self, weights: Sequence[float] | Floats) -> None:
        sums = np.cumsum(np.asarray(weights, np.float64))
        self._sums = sums[:-1] / sums[-1]

    def of(self, uniform: Floats) -> Ints:
        """Return the choice that each number of [0, 1) stands for."""
        chosen: Ints = self._sums.searchsorted(uniform, side="right")
        return chosen


def zipf_weights(count: int, exponent: float = 1.0) -> Floats:
    """Return the weights of ranks 1 to ``count`` under Zipf's law: rank to the power of minus ``exponent``."""
    weights: Floats = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights


def numbered(prefix: str, numbers: Ints, digits: int) -> Bytes:
    """Return ``prefix`` and each number in ``digits`` digits (of a longer number the last ones), a row a number."""
    groups = -(-digits // 3)
    text = np.empty((len(numbers), groups * 3), np.uint8)
    left = numbers
    for group in reversed(range(groups)):
        left, part = np.divmod(left, 1_000)
        text[:, group * 3 : group * 3 + 3] = _DECIMAL[part]
    whole = np.empty((len(numbers), len(prefix) + digits), np.uint8)
    whole[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    whole[:, len(prefix) :] = text[:, groups * 3 - digits :]
    return whole
