"""Fan-out: who gets which frames, who goes on where, who is dropped."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from consumers.serving import hub as hub_module
from consumers.serving.hub import QUEUE, RING, Client, Hub
from consumers.serving.patches import patched


def parse(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a piece of the stream."""
    events = []
    for block in data.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        events.append({"id": fields.get("id"), "event": fields["event"], **json.loads(fields["data"])})
    return events


def take(client: Client) -> list[dict[str, Any]]:
    """Return the events that wait for a client."""

    async def taken() -> bytes:
        async with asyncio.timeout(5):
            return await client.next() or b""

    return parse(asyncio.run(taken()))


def look(hub: Hub, last_event_id: str | None = None) -> list[dict[str, Any]]:
    """Return what somebody gets who comes now, and leaves again."""
    client = hub.join(never, last_event_id)
    try:
        return take(client)
    finally:
        hub.part(client)


def never() -> None:
    raise AssertionError("was cut")


class Source:
    """States that grow by one number."""

    def __init__(self) -> None:
        self.hub = Hub(lambda: 1_000)
        self.number = 0
        self.step()

    @property
    def state(self) -> dict[str, Any]:
        return {"n": {str(n): n for n in range(self.number)}}

    def step(self, position: int | None = None) -> None:
        self.number += 1
        patch = {"n": {str(self.number - 1): self.number - 1}}
        self.hub.publish(self.state, patch, self.number * 10 if position is None else position)


def test_a_new_reader_gets_a_snapshot_and_then_deltas_that_add_up() -> None:
    source = Source()
    client = source.hub.join(never, None)
    source.step()
    source.step()
    first, *deltas = take(client)
    assert (first["event"], [event["event"] for event in deltas]) == ("snapshot", ["delta", "delta"])
    state = first["state"]
    for delta in deltas:
        state = patched(state, delta["patch"])
    assert state == source.state


def test_an_id_is_a_cursor_that_names_the_position_in_the_log() -> None:
    source = Source()
    (event,) = look(source.hub)
    assert event["id"].split("-")[0] == "10"


def test_who_reconnects_goes_on_without_a_gap_and_without_a_second_copy() -> None:
    source = Source()
    source.step()
    (seen,) = look(source.hub)
    for _ in range(3):
        source.step()
    missed = look(source.hub, seen["id"])
    assert [event["event"] for event in missed] == ["delta"] * 3
    state = seen["state"]
    for delta in missed:
        state = patched(state, delta["patch"])
    assert state == source.state
    client = source.hub.join(never, missed[-1]["id"])
    source.step()
    assert [event["event"] for event in take(client)] == ["delta"]


def test_who_was_away_for_too_long_gets_a_new_snapshot() -> None:
    source = Source()
    (seen,) = look(source.hub)
    for _ in range(RING):
        source.step()
    assert [event["event"] for event in look(source.hub, seen["id"])] == ["delta"] * RING
    source.step()
    (event,) = look(source.hub, seen["id"])
    assert (event["event"], event["state"]) == ("snapshot", source.state)


def test_an_id_of_another_run_or_of_nobody_gets_a_snapshot() -> None:
    source, other = Source(), Source()
    (elsewhere,) = look(other.hub)
    for cursor in (elsewhere["id"], "", "x", "10-zz-1", "9" * 400, f"{elsewhere['id']}\r\n"):
        (event,) = look(source.hub, cursor)
        assert event["event"] == "snapshot"


def test_an_id_of_the_future_gets_a_snapshot() -> None:
    source = Source()
    (event,) = look(source.hub)
    position, run, number = event["id"].split("-")
    (event,) = look(source.hub, f"{position}-{run}-{int(number) + 5}")
    assert event["event"] == "snapshot"


def test_a_database_that_was_set_back_gives_everybody_a_snapshot() -> None:
    source = Source()
    client = source.hub.join(never, None)
    (before,) = take(client)
    source.step(position=3)
    (event,) = take(client)
    assert (event["event"], event["state"]) == ("snapshot", source.state)
    (event,) = look(source.hub, before["id"])
    assert event["event"] == "snapshot"


def test_a_reader_that_is_too_far_behind_is_cut_and_the_others_are_not() -> None:
    source = Source()
    cut: list[str] = []

    def cutter(name: str) -> Callable[[], None]:
        return lambda: cut.append(name)

    slow, quick = source.hub.join(cutter("slow"), None), source.hub.join(cutter("quick"), None)
    for _ in range(QUEUE):
        take(quick)
        source.step()
    assert (cut, slow.dropped, len(slow._pending)) == (["slow"], True, 0)
    source.hub.part(slow)
    assert source.hub.dropped == 1
    assert [event["event"] for event in take(quick)] == ["delta"]


def test_a_frame_is_encoded_once_for_all_readers() -> None:
    source = Source()
    clients = [source.hub.join(never, None) for _ in range(5)]
    source.step()
    assert len({id(client._pending[0]) for client in clients}) == 1
    assert len({id(client._pending[1]) for client in clients}) == 1


def test_alive_has_no_id_so_that_the_last_one_stays() -> None:
    source = Source()
    client = source.hub.join(never, None)
    source.hub.alive()
    assert take(client)[-1] == {"id": None, "event": "alive", "now": 1_000}


def test_the_end_of_the_server_ends_every_stream() -> None:
    source = Source()
    client = source.hub.join(never, None)
    source.hub.close()
    assert asyncio.run(client.next()) is None


def test_a_minute_of_frames_is_kept_and_a_few_seconds_wait() -> None:
    assert hub_module.RING / 4 == 60
    assert hub_module.QUEUE / 4 <= 10
