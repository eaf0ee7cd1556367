"""Fuzzing the decoder with Atheris: ``python -m tests.fuzz.decoder SECONDS [CORPUS]``, or ``make fuzz``.

Whatever the bytes: no crash, no hang, no lost neighbour, no record read as another. The judge is the reader of
:mod:`tests.penstock.avro_reference`, written from the specification; what was read, encoded anew, is read the same; and
the outcome of a value does not depend on its batch. The first input that breaks this is written to a file and ends
the run; ``python -m tests.fuzz.decoder 0 FILE`` plays it again.

An input is a byte that names the kind of record, then values of that topic, split at two bytes 0xC1 (which are no
UTF-8, so that mutations seldom make them by chance): each is put behind the five bytes of the wire format.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["RUST_BACKTRACE"] = "0"

import atheris

with atheris.instrument_imports(include=["penstock", "tests"]):
    from tests.penstock import avro_reference as reference

KINDS = sorted(reference.NAMES)
SPLIT = b"\xc1\xc1"
MAX_INPUT_BYTES = 1_000
MAX_MEMORY_MB = 2_048
MAX_INPUT_S = 20

ENCODERS = {name: reference.encoder_of(name) for name in KINDS}
DECODERS = {name: reference.decoder_of(name) for name in KINDS}
TOPICS = {name: reference.topic_of(name) for name in KINDS}
IDS = {name: reference.IDS.id_of(reference.CONTRACTS[name], TOPICS[name]) for name in KINDS}
HEADERS = {name: b"\0" + IDS[name].to_bytes(4, "big") for name in KINDS}
GOOD = {name: ENCODERS[name].encode(reference.sample(name)) for name in reference.SAMPLES}

Outcome = dict[int, tuple[str, dict[str, Any]]]


def outcome(name: str, values: Sequence[bytes | None]) -> Outcome:
    """Return what is read, by position; every other value must be rejected, once."""
    decoded = DECODERS[name].decode(values)
    rows: Outcome = reference.rows_of(decoded)
    rejected = [rejection.position for rejection in decoded.rejections]
    assert sorted([*rows, *rejected]) == list(range(len(values))), (sorted(rows), rejected)
    return rows


def judge(data: bytes) -> None:
    """Hold one input against what must be true."""
    if not data:
        return
    name = KINDS[data[0] % len(KINDS)]
    good = GOOD.get(name)
    values: list[bytes | None] = []
    for payload in data[1:].split(SPLIT):
        values += [HEADERS[name] + payload, good]
    rows = outcome(name, values)
    expected = {at: row for at, value in enumerate(values) if (row := reference.read_any(TOPICS[name], value))}
    assert rows == expected, (name, values)
    for at in range(0, len(values), 2):
        assert outcome(name, [values[at]]).get(0) == rows.get(at), (name, values[at])
    events = [(kind, row) for at, (kind, row) in rows.items() if at % 2 == 0 and kind in GOOD and "value_e6" not in row]
    if events:  # results are encoded in columns only; the float of a reading need not come back to the bit
        again = outcome(name, [ENCODERS[kind].encode(row) for kind, row in events])
        assert again == dict(enumerate(events)), (name, events)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield inputs to begin with: a good record of each kind, alone, twice, and cut short."""
    for number, name in enumerate(KINDS):
        payload = GOOD.get(name, b"\0" * 60)[5:]
        yield f"{name}-good", bytes([number]) + payload
        yield f"{name}-twice", bytes([number]) + payload + SPLIT + payload
        yield f"{name}-short", bytes([number]) + payload[: len(payload) // 2]


def main() -> None:
    """Fuzz for so many seconds; with 0, play the files again that are named."""
    seconds, *named = sys.argv[1:] or ["600"]
    if seconds == "0":
        for file in named:
            judge(Path(file).read_bytes())
        return
    folder = Path(named[0]) if named else Path(tempfile.mkdtemp(prefix="penstock-fuzz-"))
    (corpus := folder / "corpus").mkdir(parents=True, exist_ok=True)
    for name, content in seeds():
        (corpus / name).write_bytes(content)
    options = [
        f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}", f"-rss_limit_mb={MAX_MEMORY_MB}",
        f"-timeout={MAX_INPUT_S}", f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
