from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from penstock.kafka import producer_config
from producers.partitions import murmur2, partition_of, partitions_of


@pytest.mark.parametrize(
    ("text", "java"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_what_the_java_client_gives(text: str, java: int) -> None:
    assert murmur2(text.encode()) == java % 2**32


@given(st.text(max_size=40), st.integers(1, 64))
def test_every_key_has_one_of_the_partitions(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.integers(0, 40).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1)))
def test_many_keys_of_one_length_have_the_same_partitions_as_each_alone(keys: list[bytes]) -> None:
    matrix = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), len(keys[0]))
    assert partitions_of(matrix, 7).tolist() == [(murmur2(key) & 0x7FFFFFFF) % 7 for key in keys]


def test_a_key_goes_where_librdkafka_would_send_it(embedded: Any) -> None:
    keys = [*(f"o-{n:x}" for n in range(300)), "é", "日本", "a" * 100]
    chosen: dict[str, int] = {}
    producer = Producer(producer_config(embedded.settings()))
    partitions = len(producer.list_topics("keys", timeout=10).topics["keys"].partitions)

    def delivered(_error: object, message: Any) -> None:
        chosen[message.key().decode()] = message.partition()

    for key in keys:
        producer.produce("keys", b"", key, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert chosen == {key: partition_of(key, partitions) for key in keys}
