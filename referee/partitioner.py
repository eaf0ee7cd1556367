"""Which partition a key belongs to, by Kafka's default partitioner. Pure.

Source of the algorithm: MurmurHash2 by Austin Appleby, public domain, with the seed of
``org.apache.kafka.common.utils.Utils.murmur2`` and its rule for the sign.
"""

_WORD = 4


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key that is sent as UTF-8."""
    data = key.encode()
    mixed = 0x9747B28C ^ len(data)
    tail = len(data) % _WORD
    for at in range(0, len(data) - tail, _WORD):
        word = _times(int.from_bytes(data[at : at + _WORD], "little"))
        mixed = _times(mixed) ^ _times(word ^ word >> 24)
    if tail:
        mixed = _times(mixed ^ int.from_bytes(data[-tail:], "little"))
    mixed = _times(mixed ^ mixed >> 13)
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions


def _times(number: int) -> int:
    return number * 0x5BD1E995 & 0xFFFFFFFF
