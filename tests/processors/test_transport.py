"""The Faust transport: what it says while the broker does not answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.health import Health
from processors import transport


class ThreadWithoutBroker(transport.Thread):
    """The consumer thread, whose calls end when ``answered`` is set."""

    def __init__(self, health: Health) -> None:
        self.transport = cast("transport.Transport", SimpleNamespace(worker=SimpleNamespace(health=health)))
        self.answered = asyncio.Event()

    async def call_thread(self, *_call: Any, **_options: Any) -> bool:
        await self.answered.wait()
        return True


async def committed_after(health: Health, *, away_first: bool) -> bool:
    """Commit; the answer comes at once, or when the broker is said to be away."""
    thread = ThreadWithoutBroker(health)
    committing = asyncio.ensure_future(thread.commit_frontiers({}))
    async with asyncio.timeout(10):
        while away_first and "kafka" not in health.ready():
            await asyncio.sleep(0)
    thread.answered.set()
    return await committing


def test_a_commit_without_an_answer_turns_readiness_red_and_is_still_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "SLOW_COMMIT_S", 0.01)
    health = Health()
    assert asyncio.run(committed_after(health, away_first=True))
    assert "a commit has had no answer" in health.ready()["kafka"]
    assert health.live() == {}


def test_a_commit_that_is_answered_in_time_says_nothing() -> None:
    health = Health()
    assert asyncio.run(committed_after(health, away_first=False))
    assert "kafka" not in health.ready()
