"""What a letter keeps of its record: all of it, unless it is larger than any letter could be."""

from penstock.letters import kept, kept_headers, max_letter_bytes

LIMIT = 1_000


def test_a_record_that_could_be_used_is_kept_whole() -> None:
    assert kept(b"x" * LIMIT, LIMIT) == b"x" * LIMIT
    assert kept(None, LIMIT) is None


def test_of_a_larger_one_the_front_is_kept() -> None:
    assert kept(b"front" + bytes(5_000_000), LIMIT) == b"front" + bytes(LIMIT - 5)


def test_headers_are_kept_in_order_as_far_as_there_is_room() -> None:
    headers = [("trace", b"1" * 100), ("empty", None), ("large", b"2" * 400), ("small", b"3")]
    assert kept_headers(headers, LIMIT) == headers[:2]


def test_a_header_whose_name_the_contract_refuses_is_left_out() -> None:
    assert kept_headers([("n" * 1_001, b"v"), ("with\0nul", b"v"), ("fine", b"v")], 256_000) == [("fine", b"v")]


def test_the_largest_letter_of_the_default_limit_fits_into_what_kafka_takes_by_default() -> None:
    assert max_letter_bytes(256_000) < 1_048_588 - 256_000
