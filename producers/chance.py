"""Seeded randomness in bulk: drawing a thousand at a time costs a fraction of drawing one by one."""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")

_BULK = 1_024


def stream_of(seed: int, purpose: str) -> random.Random:
    """Return a source of randomness for one purpose: others' draws don't shift it."""
    return random.Random(f"{seed}/{purpose}")  # noqa: S311  # a model, no secret


def zipf_weights(count: int, exponent: float = 1.0) -> list[float]:
    """Return the weights of ranks 1 to ``count`` under Zipf's law: rank to the power of minus ``exponent``."""
    return [rank**-exponent for rank in range(1, count + 1)]


class Draws(Generic[T]):
    """Draws from ``values`` with ``weights``, for ever."""

    def __init__(self, rng: random.Random, values: Sequence[T], weights: Sequence[float]) -> None:
        self._rng = rng
        self._values = values
        self._cumulated = list(accumulate(weights))
        self._pool: list[T] = []

    def one(self) -> T:
        """Return the next draw."""
        if not self._pool:
            self._pool = self._rng.choices(self._values, cum_weights=self._cumulated, k=_BULK)
        return self._pool.pop()


class EventIds:
    """Random UUIDs of version 4."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pool: list[str] = []

    def one(self) -> str:
        """Return the next id, 36 characters."""
        if not self._pool:
            digits = self._rng.randbytes(16 * _BULK).hex()
            self._pool = [
                f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}"
                f"-a{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
                for i in range(0, 32 * _BULK, 32)
            ]
        return self._pool.pop()
