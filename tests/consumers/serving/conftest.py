"""The server on a small world, in both databases."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from consumers.serving.run import Server, serving
from consumers.stores import Store
from penstock.settings import Settings
from testbed.availability import is_required
from testbed.chromium import chromium, missing
from tests.consumers.serving.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def world(connect: Callable[[], Store]) -> World:
    return World(connect()).fill()


@pytest.fixture
def server(settings: Settings, world: World) -> Iterator[Server]:
    with serving(settings.model_copy(update={"serve_port": 0})) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=60.0) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real browser for a file of tests; missing, the test is skipped, or fails if PENSTOCK_REQUIRE names chromium.

    While Playwright runs no other test of the process can have an event loop: so not for the session.
    """
    reason = missing()
    if reason is not None and is_required("chromium"):
        pytest.fail(f"chromium is required by PENSTOCK_REQUIRE, and can't be had. {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(f"no real chromium. {reason}")
    with chromium() as browser:
        yield browser
