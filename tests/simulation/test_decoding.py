"""The simulation's shelf of decoded values gives what the real decoder gives."""

import random

import pytest

from simulation import codec
from simulation.decoding import Shelf
from simulation.events import RECORDS, Mix, operations


@pytest.mark.parametrize("topic", ["orders", "telemetry"])
@pytest.mark.parametrize("seed", range(8))
def test_rows_from_the_shelf_are_those_of_a_decoded_batch(topic: str, seed: int) -> None:
    rng = random.Random(seed)
    mix = Mix(topic, RECORDS[topic], True, 5_000, copy=0.2, poison=0.2, heartbeat=0.1, ahead=0.1, gap=0.0)
    values = [operation.value for operation in operations(rng, mix, 2, 40)]
    shelf, decoder = Shelf(codec.decoder(topic)), codec.decoder(topic)
    for _ in range(6):
        begin = rng.randrange(len(values))
        batch = values[begin : begin + rng.randint(1, 12)]
        whole, pieced = decoder.decode(batch), shelf.decode(batch)
        assert pieced.rejections == whole.rejections
        filled = {name: frame for name, frame in whole.records.items() if len(frame)}
        assert {name: frame.to_dicts() for name, frame in pieced.records.items()} == {
            name: frame.to_dicts() for name, frame in filled.items()
        }
        for name, frame in pieced.items.items():
            assert frame.to_dicts() == whole.items[name].to_dicts()
            assert frame.schema == whole.items[name].schema
        for name, frame in pieced.records.items():
            assert frame.schema == whole.records[name].schema
