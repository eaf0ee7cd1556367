"""Which partition a key goes to: Kafka's murmur2 partitioner, as a pure function.

A producer keeps the partition count that it started with and names the partition itself, so that a copy of an event
always meets its first one, even if somebody adds partitions meanwhile, and so that it knows which ones had nothing.
Source of the algorithm: Austin Appleby's MurmurHash2 with the seed and the sign rule of Kafka's Java client
(``org.apache.kafka.common.utils.Utils``); a test compares it with librdkafka's ``murmur2_random``.
"""

import numpy as np
import numpy.typing as npt

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_LOW = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit hash, unsigned."""
    size = len(data)
    value = _SEED ^ size
    whole = size & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MIX & _LOW
        value = (value * _MIX & _LOW) ^ ((word ^ word >> 24) * _MIX & _LOW)
    if whole < size:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MIX & _LOW
    value = (value ^ value >> 13) * _MIX & _LOW
    return value ^ value >> 15


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of ``key`` (sent as UTF-8) among ``partitions``."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def partitions_of(keys: npt.NDArray[np.uint8], partitions: int) -> npt.NDArray[np.int64]:
    """Return the same for many keys of one length: ``keys`` has a row of bytes for each."""
    size = keys.shape[1]
    whole = size & ~3
    words = np.ascontiguousarray(keys[:, :whole]).view("<u4").T.astype(np.uint32)
    mix = np.uint32(_MIX)
    value = np.full(len(keys), _SEED ^ size, np.uint32)
    for word in words:
        mixed = word * mix
        value = value * mix ^ (mixed ^ mixed >> np.uint32(24)) * mix
    if whole < size:
        tail = np.zeros(len(keys), np.uint32)
        for place in range(whole, size):
            tail |= keys[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        value = (value ^ tail) * mix
    value = (value ^ value >> np.uint32(13)) * mix
    value ^= value >> np.uint32(15)
    return (value & np.uint32(0x7FFFFFFF)).astype(np.int64) % partitions
