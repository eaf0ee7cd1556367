"""Secrets come from files as well as from variables; what is wrong with one is one clear line, and never shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.secret_files import MAX_SECRET_BYTES
from penstock.settings import SECRETS, Settings, load_settings, setting_sources, variable

SECRET_VARIABLES = [variable(field) for field in SECRETS]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in Settings.model_fields:
        for suffix in ("", "_FILE"):
            monkeypatch.delenv(variable(name) + suffix, raising=False)
            monkeypatch.delenv((variable(name) + suffix).lower(), raising=False)
    return


def test_every_setting_that_is_masked_may_come_from_a_file() -> None:
    masked = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert set(SECRETS) == masked


@pytest.mark.parametrize("name", SECRET_VARIABLES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_the_file_that_its_variable_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str
) -> None:
    secret = "postgresql://me:hunter2@host/db" if name == "DATABASE_URL" else "hunter2 "
    (tmp_path / "secret").write_bytes((secret + end).encode())
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    settings = load_settings()
    (value,) = [getattr(settings, field) for field in SECRETS if variable(field) == name]
    assert value.get_secret_value() == secret
    assert "hunter2" not in f"{settings} {settings.environment()} {setting_sources()}"
    assert setting_sources()[name] == f"file {tmp_path / 'secret'}"


def test_a_secret_in_both_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "/run/secrets/kafka")
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert str(refused.value) == "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are both set: keep one of them"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sqlite:///views.db\n", encoding="utf-8")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "sqlite:///views.db"
    assert settings.kafka_sasl_password is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "one line"),
        (b"\n", "one line"),
        (b"one\ntwo\n", "one line"),
        (b"nul\0", "one line"),
        (b"\xff\xfe", "no UTF-8 text"),
        (b"x" * (MAX_SECRET_BYTES + 1), "no secret"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SCHEMA_REGISTRY_PASSWORD_FILE", str(path))
    with pytest.raises(UsageError) as refused:
        load_settings()
    message = str(refused.value)
    assert message.startswith("SCHEMA_REGISTRY_PASSWORD_FILE: ")
    assert str(path) in message
    assert words in message
    assert len(message) < 300


def test_a_folder_in_place_of_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path))
    with pytest.raises(UsageError, match=r"DATABASE_URL_FILE: can't read .*: Is a directory"):
        load_settings()


def test_a_wrong_address_from_a_file_is_explained_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("mysql://me:hunter2@host/db", encoding="utf-8")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(UsageError, match="DATABASE_URL: its value is wrong") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_sources_tell_defaults_from_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    sources = setting_sources()
    assert sources["LOG_LEVEL"] == "environment"
    assert sources["LOG_FORMAT"] == "default"
    assert set(sources) == {variable(name) for name in Settings.model_fields}


@pytest.mark.parametrize("name", ["KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_KEY_LOCATION", "SCHEMA_REGISTRY_SSL_CA_LOCATION"])
def test_a_certificate_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/no/such/file")
    with pytest.raises(UsageError, match=rf"{name}: .*/no/such/file.* can't be read: No such file"):
        load_settings()
