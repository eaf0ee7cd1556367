"""`penstock config` as it is typed."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from penstock.commands import config
from penstock.settings import SECRETS, Settings, variable


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in map(variable, Settings.model_fields):
        for spelling in (name, name.lower()):
            monkeypatch.delenv(spelling, raising=False)
    for field in SECRETS:
        monkeypatch.delenv(f"{variable(field)}_FILE", raising=False)


def run(*arguments: str) -> list[str]:
    app = typer.Typer()
    config.register(app)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_settings_are_printed_as_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    shown = run()
    assert "LOG_LEVEL=DEBUG" in shown
    assert "PENSTOCK_PIPELINE_VERSION=1" in shown
    assert len(shown) == len(Settings.model_fields)


def test_sources_say_where_each_setting_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("hunter2\n")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "secret")
    monkeypatch.setenv("log_level", "DEBUG")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host/db")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run("--sources") if "│" in line]
    rows = {name: (value, source) for name, value, source in cells}
    assert rows["KAFKA_SASL_PASSWORD"] == ("**********", "file secret")
    assert rows["LOG_LEVEL"] == ("DEBUG", "environment")
    assert rows["DATABASE_URL"] == ("postgresql://me:**********@host/db", "environment")
    assert rows["KAFKA_BOOTSTRAP_SERVERS"] == ("127.0.0.1:9092", "default")
    assert rows["PENSTOCK_HTTP_PORT"] == ("", "default")
    assert set(rows) == {variable(field) for field in Settings.model_fields}
    assert "hunter2" not in str(rows)
