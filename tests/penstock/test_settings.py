"""Settings come from the environment; a wrong one is one clear line, a secret is never shown."""

import os
from collections.abc import Iterator

import pytest

from penstock.errors import ExitCode, UsageError
from penstock.settings import Settings, load_settings, mask_url, variable
from penstock.topics import BY_NAME, group_id


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in Settings.model_fields:
        for spelling in (variable(name), variable(name).lower()):
            monkeypatch.delenv(spelling, raising=False)
    return


def test_without_an_environment_there_are_defaults_for_a_machine_of_ones_own() -> None:
    settings = load_settings()
    assert settings.kafka_bootstrap_servers == "127.0.0.1:9092"
    assert settings.schema_registry_url is None
    assert not settings.embedded


def test_the_ecosystems_names_are_bare_and_our_own_begin_with_penstock() -> None:
    bare = ("KAFKA_", "SCHEMA_REGISTRY_", "DATABASE_URL", "LOG_LEVEL", "LOG_FORMAT")
    assert all(variable(name).startswith((*bare, "PENSTOCK_")) for name in Settings.model_fields)


def test_a_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TOPIC_PREFIX", "test-")
    monkeypatch.setenv("PENSTOCK_PIPELINE_VERSION", "3")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://host:8080/apis/ccompat/v7/")
    settings = load_settings()
    assert settings.schema_registry_url == "http://host:8080/apis/ccompat/v7"
    assert BY_NAME["orders"].full_name(settings) == "test-orders"
    assert BY_NAME["order-metrics"].full_name(settings) == "test-order-metrics.v3"
    assert group_id(settings, "processors") == "test-penstock-processors.v3"


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("PENSTOCK_PIPELINE_VERSION", "zero", "'zero'"),
        ("PENSTOCK_PIPELINE_VERSION", "0", "greater than or equal to 1"),
        ("PENSTOCK_HTTP_PORT", "70000", "65535"),
        ("PENSTOCK_TOPIC_PREFIX", "a b", "'a b'"),
        ("PENSTOCK_EMBEDDED", "perhaps", "boolean"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
        ("SCHEMA_REGISTRY_URL", "host:8080", "http://"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "postgresql://"),
        ("LOG_LEVEL", "LOUD", "DEBUG"),
        ("LOG_FORMAT", "xml", "json"),
    ],
)
def test_a_wrong_value_gives_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as raised:
        load_settings()
    message = str(raised.value)
    assert message.startswith(f"{name}: ")
    assert part in message
    assert "\n" not in message
    assert "secret" not in message
    assert raised.value.exit_code == ExitCode.USAGE


def test_several_wrong_values_are_all_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    monkeypatch.setenv("PENSTOCK_HTTP_PORT", "x")
    with pytest.raises(UsageError, match=r"LOG_LEVEL: .*; PENSTOCK_HTTP_PORT: "):
        load_settings()


def test_sasl_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    with pytest.raises(UsageError, match="KAFKA_SASL_PASSWORD"):
        load_settings()


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", "hunter2")
    monkeypatch.setenv("SCHEMA_REGISTRY_PASSWORD", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host:5432/db")
    settings = load_settings()
    assert settings.kafka_sasl_password is not None
    assert settings.kafka_sasl_password.get_secret_value() == "hunter2"
    shown = settings.environment()
    assert "hunter2" not in f"{shown} {settings!r} {settings}"
    assert shown["DATABASE_URL"] == "postgresql://me:**********@host:5432/db"
    assert shown["KAFKA_SASL_USERNAME"] == "me"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("sqlite:///penstock.db", "sqlite:///penstock.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:p@host/db", "postgresql://me:**********@host/db"),
        ("postgresql://h/d?user=u&password=p&sslmode=verify-full", "postgresql://h/d?user=u&password=**********&sslmode=verify-full"),
        ("postgresql://u:p@h/d?sslpassword=p", "postgresql://u:**********@h/d?sslpassword=**********"),
    ],
)
def test_a_password_in_an_address_becomes_stars(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_settings_that_were_shown_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_RUN_ID", "r1")
    before = load_settings()
    for name, value in before.environment().items():
        if value:
            monkeypatch.setenv(name, value)
    assert load_settings() == before


def test_settings_never_change_once_they_are_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().embedded = True  # type: ignore[misc]


def test_nothing_is_read_at_import() -> None:
    assert "PENSTOCK_EMBEDDED" not in os.environ
    assert not load_settings().embedded
    assert load_settings(embedded=True).embedded


@pytest.mark.parametrize("servers", ["", "kafka:9092,", "kafka:port", "kafka:99999", ":9092"])
def test_bootstrap_servers_that_can_never_be_reached_are_refused(servers: str) -> None:
    with pytest.raises(UsageError, match="KAFKA_BOOTSTRAP_SERVERS"):
        load_settings(kafka_bootstrap_servers=servers)


@pytest.mark.parametrize("servers", ["kafka", "kafka:9092", "a:1, b:2", "[::1]:9092", "SASL_SSL://kafka:9092"])
def test_bootstrap_servers_may_be_several_with_or_without_a_port(servers: str) -> None:
    assert load_settings(kafka_bootstrap_servers=servers).kafka_bootstrap_servers == servers


def test_a_database_port_that_is_no_number_is_refused_without_telling_the_password() -> None:
    with pytest.raises(UsageError, match="DATABASE_URL: its value is wrong: its port") as refused:
        load_settings(database_url="postgresql://u:secret@host:port/db")
    assert "secret" not in str(refused.value)
