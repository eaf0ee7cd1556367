"""Faust's web server, which would show tables on all addresses, is never started."""

import faust
import pytest
from faust.app import BootStrategy

from processors.app import App


@pytest.fixture
def app() -> faust.App:
    return App(id="off", broker="kafka://127.0.0.1:1", web_enabled=True, web_bind="127.0.0.1")


def test_no_web_server_is_among_the_services_even_if_settings_or_the_command_line_want_it(app: faust.App) -> None:
    app.conf.web_enabled = True
    strategy = app.boot_strategy
    assert not strategy.enable_web
    assert not list(strategy.web_server())
    services = [type(service).__name__ for service in strategy.server()]
    assert "Web" not in services
    stock = faust.App(id="stock", broker="kafka://127.0.0.1:1", web_enabled=True).boot_strategy
    assert type(stock) is BootStrategy
    assert list(stock.web_server()), "else this test would prove nothing"
