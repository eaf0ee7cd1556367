"""The one reader of the database for all clients of the stream."""

import asyncio
import time
from contextlib import suppress

from consumers.serving.database import Database
from consumers.serving.hub import Hub
from consumers.serving.live import Live
from consumers.serving.look import NotNow
from penstock.errors import PenstockError
from penstock.health import Health
from penstock.log import get_logger

TICK_S = 0.25
"""The least time between two updates: at most 4 in any second."""

IDLE_TICK_S = 1.0
"""The same while nobody looks."""

AWAY_TICK_S = 2.0
ALIVE_S = 5.0
"""At the latest so long after the last frame comes the next, if only to say that we are here."""


class Poller:
    """Reads the state for ``hub``, by ``database``, until it is cancelled."""

    def __init__(self, database: Database, hub: Hub, health: Health) -> None:
        self._database, self._hub, self._health = database, hub, health
        self._live = Live()
        self._woken = asyncio.Event()
        self._away: str | None = None

    def wake(self) -> None:
        """Look at once: somebody came."""
        self._woken.set()

    async def run(self) -> None:
        """Poll for ever."""
        spoken = time.monotonic()
        while True:
            said = await self._look()
            now = time.monotonic()
            if not said and now - spoken >= ALIVE_S:
                self._hub.alive()
                said = True
            spoken = now if said else spoken
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next tick; one that somebody's coming brings on is still a tick away from the last."""
        tick = AWAY_TICK_S if self._away else TICK_S if self._hub.clients else IDLE_TICK_S
        self._woken.clear()
        await asyncio.sleep(TICK_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), tick - TICK_S)

    async def _look(self) -> bool:
        """Read what moved; return whether there was something to say."""
        try:
            patch = await self._database.read(self._live.refresh)
        except PenstockError as error:
            why = str(error) if isinstance(error, NotNow) else "the database can't be read; the server's log says why"
            if self._away is None:
                get_logger("serve").warning("the live page can't be read", why=str(error))
            self._away = why
            self._health.away("database", why)
            patch = self._live.trouble(why)
        else:
            if self._away is not None:
                get_logger("serve").info("the live page can be read")
            self._away = None
            self._health.here("database")
            self._health.started()
            patch = {**self._live.trouble(None), **patch}
        if patch:
            self._hub.publish(self._live.state, patch, self._live.position)
        return bool(patch)
