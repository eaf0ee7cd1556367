"""Hostile bytes: nothing crashes, no record is read as another, no good neighbour is lost; batching does not matter.

The judge is :mod:`tests.penstock.avro_reference`, another reader of the same bytes: the codec must take exactly
what it takes, and see the same in it.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.avro import Decoded, Decoder, Rejection
from tests.penstock import avro_reference as reference
from tests.penstock.avro_strategies import records

EVENTS = sorted(reference.SAMPLES)
MASKS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x03, 0xFF)
HUGE = (2**31, 2**40, 2**62, 2**63 - 1, -1, -2, -(2**31), -(2**63))


def judged(name: str, values: Sequence[bytes | None]) -> list[Rejection]:
    """Decode ``values`` in one batch, hold every outcome against the reference, and return the rejections."""
    decoded = reference.decoder_of(name).decode(values)
    rows, topic = reference.rows_of(decoded), reference.topic_of(name)
    expected = {at: row for at, value in enumerate(values) if (row := reference.read_any(topic, value)) is not None}
    assert rows == expected
    rejected = [rejection.position for rejection in decoded.rejections]
    assert sorted([*rows, *rejected]) == list(range(len(values)))
    assert rejected == sorted(rejected)
    return decoded.rejections


def between_good(name: str, bad: Iterable[bytes | None]) -> list[bytes | None]:
    """Return ``bad`` values, each between two good ones."""
    good = reference.encoder_of(name).encode(reference.sample(name))
    mixed: list[bytes | None] = [good]
    for value in bad:
        mixed += [value, good]
    return mixed


def outcome(
    decoder: "Decoder | PartsOf", values: Sequence[bytes | None], cuts: Iterable[int]
) -> tuple[Any, list[Rejection]]:
    """Return what comes out of ``values`` in pieces cut at ``cuts``, as if it were one batch."""
    rows, rejections, start = {}, [], 0
    for stop in [*sorted(cuts), len(values)]:
        decoded = decoder.decode(values[start:stop])
        rows.update({start + at: row for at, row in reference.rows_of(decoded).items()})
        rejections += [(start + at, reason, detail) for at, reason, detail in decoded.rejections]
        start = stop
    return rows, [Rejection(*rejection) for rejection in rejections]


def zigzag(value: int) -> bytes:
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))


@pytest.mark.parametrize("name", EVENTS)
def test_a_record_cut_off_anywhere_is_rejected_and_its_neighbours_are_not(name: str) -> None:
    good = reference.encoder_of(name).encode(reference.sample(name))
    rejections = judged(name, between_good(name, (good[:length] for length in range(len(good)))))
    assert [rejection.position for rejection in rejections] == list(range(1, 2 * len(good), 2))


@pytest.mark.parametrize("name", EVENTS)
def test_a_record_with_any_byte_flipped_is_rejected_or_is_what_its_bytes_say(name: str) -> None:
    judged(name, between_good(name, _flipped(reference.encoder_of(name).encode(reference.sample(name)), MASKS)))


def test_every_value_of_every_byte_of_an_order_is_judged_alike() -> None:
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced", source="s"))
    values = list(_flipped(good, range(1, 256)))
    chosen = random.Random(11).sample(values, len(values) // 4)
    judged("OrderPlaced", chosen)


def _flipped(good: bytes, masks: Iterable[int]) -> Iterator[bytes]:
    for mask in masks:
        for at in range(len(good)):
            yield good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :]


@pytest.mark.parametrize("name", EVENTS)
def test_bytes_behind_the_record_are_rejected_also_if_they_are_a_second_copy_of_it(name: str) -> None:
    good = reference.encoder_of(name).encode(reference.sample(name))
    tails = [b"\0", b"\1", b"x" * 16, bytes(16), good, good[5:], good[5:] * 3]
    rejections = judged(name, between_good(name, (good + tail for tail in tails)))
    assert len(rejections) == len(tails)


@pytest.mark.parametrize("length", HUGE)
def test_a_hostile_length_or_count_costs_neither_memory_nor_a_neighbour(length: int) -> None:
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced"))
    hostile = [good[:at] + zigzag(length) + good[at + 1 :] for at in range(5, len(good))]
    hostile += [good[:at] + zigzag(length) for at in range(5, len(good))]
    judged("OrderPlaced", between_good("OrderPlaced", hostile))


OF_ANOTHER_TOPIC = next(i for i, contract in reference.LOCKED.items() if contract.name == "ReadingTaken")


@pytest.mark.parametrize("schema_id", [0, OF_ANOTHER_TOPIC, 99, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_foreign_schema_id_is_an_unknown_schema(schema_id: int) -> None:
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced"))
    rejections = judged("OrderPlaced", between_good("OrderPlaced", [b"\0" + schema_id.to_bytes(4, "big") + good[5:]]))
    assert [(rejection.position, rejection.reason) for rejection in rejections] == [(1, "unknown-schema")]
    assert str(schema_id) in rejections[0].detail


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b'{"order_id": 1}', b"\1\0\0\0\7", "naïve".encode()])
def test_what_does_not_begin_like_avro_says_so(value: bytes) -> None:
    rejections = judged("OrderPlaced", between_good("OrderPlaced", [value]))
    assert [(rejection.position, rejection.reason) for rejection in rejections] == [(1, "not-avro")]


def test_a_record_without_a_value_has_no_value() -> None:
    assert [r.reason for r in judged("OrderPlaced", between_good("OrderPlaced", [None, None]))] == ["no-value"] * 2


def test_a_batch_of_random_ids_costs_one_pass_and_not_one_for_each_id() -> None:
    values = [b"\0" + number.to_bytes(4, "big") + b"x" for number in range(1_000, 31_000)]
    rejections = judged("OrderPlaced", values)
    assert len(rejections) == len(values)


class PartsOf:
    """Decodes all of ``values`` at once, and gives out the part that is asked for next."""

    def __init__(self, decoder: Decoder, values: Sequence[bytes | None]) -> None:
        self.whole, self.begin = decoder.decode(values), 0

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        begin, self.begin = self.begin, self.begin + len(values)
        return self.whole.part(begin, self.begin)


@settings(max_examples=150)
@given(data=st.data())
def test_the_outcome_does_not_depend_on_how_records_were_batched(data: st.DataObject) -> None:
    values = data.draw(st.lists(_values("orders"), min_size=2, max_size=12))
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=4))
    decoder = reference.decoder_of("OrderPlaced")
    whole = outcome(decoder, values, [])
    assert outcome(decoder, values, range(1, len(values))) == whole
    assert outcome(PartsOf(decoder, values), values, cuts) == whole
    assert outcome(decoder, values, cuts) == whole
    assert outcome(reference.decoder_of("OrderPlaced"), values, []) == whole
    judged("OrderPlaced", values)


@pytest.mark.parametrize("name", [name for name in reference.NAMES if name not in EVENTS])
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_results_and_letters_are_judged_alike_too(name: str, data: st.DataObject) -> None:
    value = reference.encoder_of(name).encode(data.draw(records(reference.CONTRACTS[name].schema)))
    damaged = data.draw(st.lists(_damaged(value), min_size=1, max_size=8))
    judged(name, [value, *damaged, value])


@settings(max_examples=200)
@given(payload=st.binary(max_size=120), name=st.sampled_from(EVENTS))
def test_random_bytes_under_a_known_id_are_judged_alike(payload: bytes, name: str) -> None:
    header = reference.encoder_of(name).encode(reference.sample(name))[:5]
    judged(name, between_good(name, [header + payload]))


def test_one_bad_record_among_twenty_thousand_loses_that_one_alone() -> None:
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced"))
    values = [good] * 20_000
    values[13_337] = good[:-4]
    decoded = reference.decoder_of("OrderPlaced").decode(values)
    assert [rejection.position for rejection in decoded.rejections] == [13_337]
    assert len(decoded.records["OrderPlaced"]) == 19_999
    assert len(decoded.items["OrderPlaced.items"]) == 2 * 19_999


@pytest.mark.parametrize("count", [2, 40, 900])
def test_broken_records_anywhere_in_a_large_batch_lose_themselves_alone(count: int) -> None:
    rng = random.Random(count)
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced"))
    values: list[bytes | None] = [good] * 2_000
    for at in rng.sample(range(len(values)), count):
        cut = rng.randrange(5, len(good))
        broken = (good[:cut], good + b"\0", good[:cut] + bytes([good[cut] ^ rng.choice(MASKS)]) + good[cut + 1 :])
        values[at] = rng.choice(broken)
    assert 0 < len(judged("OrderPlaced", values)) <= count


def test_records_that_the_guess_is_wrong_about_are_decided_as_if_they_were_alone() -> None:
    """fastavro takes a long of 12 bytes, which Polars does not; and no fifth branch of a union, which Polars does."""
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced", source="src", order_id="oid"))
    time = good.index(b"src") - 1 - len(zigzag(1_700_000_000_123))
    over_long = good[:time] + b"\x80" * 11 + b"\0" + good[time + len(zigzag(1_700_000_000_123)) :]
    branch = good.index(b"oid") + 3
    assert good[branch] == 2
    fifth = good[:branch] + zigzag(5) + good[branch + 1 :]
    rejections = judged("OrderPlaced", [good, over_long, good, fifth, good[:-1], good, over_long, good])
    assert [rejection.position for rejection in rejections] == [1, 4, 6]


@pytest.mark.parametrize(
    ("end", "detail"),
    [
        (b"", "items[0].sku: takes 1 bytes, and 0 are left"),
        (zigzag(500), "items[0].sku: takes 500 bytes, and 0 are left"),
        (b"\xff" * 11, "items[0].sku: a number or length of more than 10 bytes"),
        (b"\x04\xff\xfe", "items[0].sku: is not UTF-8"),
        (b"\x03ab", "items[0].sku: its length is -2"),
        (b"\x02a\x02\x02\x00\x00more", "4 bytes are left behind the last field"),
        (b"\x02a\x02" + zigzag(17) + bytes(18), "items[0].unit_price: a decimal of 17 bytes is too long"),
    ],
)
def test_a_rejection_says_where_the_bytes_stop_to_make_sense(end: bytes, detail: str) -> None:
    empty = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced", items=[]))
    (rejection,) = judged("OrderPlaced", [empty[:-1] + zigzag(1) + end])
    assert rejection == Rejection(0, "malformed", detail)


def _values(topic: str) -> st.SearchStrategy[bytes | None]:
    """Good records of a topic, damaged ones, foreign ones, random bytes, nothing."""
    names = [name for name in EVENTS if reference.topic_of(name).name == topic]
    good = st.sampled_from(names).flatmap(
        lambda name: records(reference.CONTRACTS[name].schema).map(reference.encoder_of(name).encode)
    )
    foreign = st.just(reference.encoder_of("ReadingTaken").encode(reference.sample("ReadingTaken")))
    other = st.binary(max_size=30) | foreign | st.just(json.dumps({"a": 1}).encode()) | st.none()
    return good | good.flatmap(_damaged) | other


def _damaged(value: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, len(value) - 1)
    cut = places.map(lambda at: value[:at])
    flip = st.tuples(places, st.integers(1, 255)).map(
        lambda pair: value[: pair[0]] + bytes([value[pair[0]] ^ pair[1]]) + value[pair[0] + 1 :]
    )
    insert = st.tuples(places, st.binary(min_size=1, max_size=12)).map(
        lambda pair: value[: pair[0]] + pair[1] + value[pair[0] :]
    )
    drop = places.map(lambda at: value[:at] + value[at + 1 :])
    return cut | flip | insert | drop | st.just(value + value) | st.just(value + value[5:])
