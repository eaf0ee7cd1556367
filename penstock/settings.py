"""Every setting of Penstock, read from the environment in one place.

The ecosystem's own names stay bare (``KAFKA_BOOTSTRAP_SERVERS``, ``DATABASE_URL``); Penstock's begin with
``PENSTOCK_``. A secret may come from a file as well, named by its variable with ``_FILE`` behind. Nothing is read at
import: a command calls :func:`load_settings` once and hands the result on.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.errors import UsageError
from penstock.secret_files import SUFFIX, secret_of, value_of

TOPIC_NAME_CHARACTERS = "letters, digits, '.', '_' and '-'"


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """What is in force. Frozen: a stage starts with it and never changes it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias=_env("KAFKA_BOOTSTRAP_SERVERS"))
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", validation_alias=_env("KAFKA_SECURITY_PROTOCOL")
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, validation_alias=_env("KAFKA_SASL_MECHANISM")
    )
    kafka_sasl_username: str | None = Field(None, validation_alias=_env("KAFKA_SASL_USERNAME"))
    kafka_sasl_password: SecretStr | None = Field(None, validation_alias=_env("KAFKA_SASL_PASSWORD"))
    kafka_ssl_ca_location: Path | None = Field(None, validation_alias=_env("KAFKA_SSL_CA_LOCATION"))
    kafka_ssl_certificate_location: Path | None = Field(
        None, validation_alias=_env("KAFKA_SSL_CERTIFICATE_LOCATION")
    )
    kafka_ssl_key_location: Path | None = Field(None, validation_alias=_env("KAFKA_SSL_KEY_LOCATION"))
    kafka_ssl_key_password: SecretStr | None = Field(None, validation_alias=_env("KAFKA_SSL_KEY_PASSWORD"))

    schema_registry_url: str | None = Field(None, validation_alias=_env("SCHEMA_REGISTRY_URL"))
    schema_registry_username: str | None = Field(None, validation_alias=_env("SCHEMA_REGISTRY_USERNAME"))
    schema_registry_password: SecretStr | None = Field(
        None, validation_alias=_env("SCHEMA_REGISTRY_PASSWORD")
    )
    schema_registry_ssl_ca_location: Path | None = Field(
        None, validation_alias=_env("SCHEMA_REGISTRY_SSL_CA_LOCATION")
    )

    database_url: SecretStr = Field(SecretStr("sqlite:///penstock.db"), validation_alias=_env("DATABASE_URL"))
    database_capacity_bytes: int | None = Field(
        None, validation_alias=_env("PENSTOCK_DATABASE_CAPACITY_BYTES"), ge=1, le=1 << 60
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_env("LOG_LEVEL")
    )
    log_format: Literal["console", "json"] = Field("console", validation_alias=_env("LOG_FORMAT"))

    topic_prefix: str = Field(
        "", validation_alias=_env("PENSTOCK_TOPIC_PREFIX"), pattern=r"^[A-Za-z0-9._-]{0,100}$"
    )
    pipeline_version: int = Field(1, validation_alias=_env("PENSTOCK_PIPELINE_VERSION"), ge=1, le=9999)
    embedded: bool = Field(False, validation_alias=_env("PENSTOCK_EMBEDDED"))
    run_id: str = Field("embedded", validation_alias=_env("PENSTOCK_RUN_ID"))
    accept_trimmed_log: bool = Field(False, validation_alias=_env("PENSTOCK_ACCEPT_TRIMMED_LOG"))
    http_host: str = Field("127.0.0.1", validation_alias=_env("PENSTOCK_HTTP_HOST"))
    http_port: int | None = Field(None, validation_alias=_env("PENSTOCK_HTTP_PORT"), ge=0, le=65535)
    serve_host: str = Field("127.0.0.1", validation_alias=_env("PENSTOCK_SERVE_HOST"))
    serve_port: int = Field(8080, validation_alias=_env("PENSTOCK_SERVE_PORT"), ge=0, le=65535)
    commit_interval_s: float = Field(
        1.0, validation_alias=_env("PENSTOCK_COMMIT_INTERVAL_S"), ge=0.05, le=60
    )
    early_results_interval_s: float = Field(
        0.1, validation_alias=_env("PENSTOCK_EARLY_RESULTS_INTERVAL_S"), ge=0.02, le=1.0
    )
    fetch_batch_records: int = Field(
        20_000, validation_alias=_env("PENSTOCK_FETCH_BATCH_RECORDS"), ge=1, le=1_000_000
    )
    view_batch_records: int = Field(
        10_000, validation_alias=_env("PENSTOCK_VIEW_BATCH_RECORDS"), ge=1, le=1_000_000
    )
    max_record_bytes: int = Field(
        256_000, validation_alias=_env("PENSTOCK_MAX_RECORD_BYTES"), ge=100, le=16_000_000
    )
    max_dead_letters_in_a_row: int = Field(
        10_000, validation_alias=_env("PENSTOCK_MAX_DEAD_LETTERS_IN_A_ROW"), ge=1
    )
    session_timeout_ms: int = Field(
        6_000, validation_alias=_env("PENSTOCK_SESSION_TIMEOUT_MS"), ge=1_000, le=300_000
    )
    trace_spans_per_second: int = Field(
        50, validation_alias=_env("PENSTOCK_TRACE_SPANS_PER_SECOND"), ge=1, le=100_000
    )
    failpoints: str = Field("", validation_alias=_env("PENSTOCK_FAILPOINTS"))

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        scheme = urlsplit(value.get_secret_value()).scheme
        if scheme not in ("sqlite", "postgresql", "postgres"):
            raise ValueError("must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        _port_of(value.get_secret_value())
        return value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for server in value.split(","):
            _, _, address = server.strip().rpartition("://")
            if not urlsplit(f"//{address}").hostname:
                raise ValueError("must be HOST:PORT, several of them separated by commas")
            _port_of(f"//{address}")
        return value

    @field_validator(
        "kafka_ssl_ca_location",
        "kafka_ssl_certificate_location",
        "kafka_ssl_key_location",
        "schema_registry_ssl_ca_location",
    )
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is None or value == Path():  # set, and empty
            return None
        try:
            value.open("rb").close()
        except OSError as error:
            raise ValueError(f"can't be read: {error.strerror}") from None
        return value

    @field_validator("schema_registry_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http:// or https:// address")
        return value.rstrip("/") if value else None

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> "Settings":
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs KAFKA_SASL_MECHANISM, "
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        return self

    def environment(self) -> dict[str, str]:
        """Return the settings by the names of their environment variables; secrets masked."""
        return {
            variable(name): "" if (value := getattr(self, name)) is None else str(value)
            for name in type(self).model_fields
            if name != "database_url"
        } | {"DATABASE_URL": mask_url(self.database_url.get_secret_value())}


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise ValueError("its port must be a number from 0 to 65535") from None


def variable(field: str) -> str:
    """Return the environment variable that sets ``field``."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else field


_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)

SECRETS = ("kafka_sasl_password", "kafka_ssl_key_password", "schema_registry_password", "database_url")
"""The fields that may come from a file: ``KAFKA_SASL_PASSWORD_FILE`` and so on."""


def setting_sources(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return where each setting comes from, by the name of its variable.

    It is ``default``, ``environment``, or ``file PATH`` for a secret from the file that ``NAME_FILE`` names.
    """
    return {variable(field): _source_of(field, environment) for field in Settings.model_fields}


def _source_of(field: str, environment: Mapping[str, str]) -> str:
    name = variable(field)
    path = value_of(environment, name + SUFFIX) if field in SECRETS else None
    if path is not None:
        return f"file {path}"
    return "environment" if name in environment or name.lower() in environment else "default"


def mask_url(url: str) -> str:
    """Return ``url`` with its passwords, if it has any (also as a parameter), replaced by stars."""
    password = urlsplit(url).password
    if password is not None:
        url = url.replace(f":{password}@", ":**********@", 1)
    return _PASSWORD_PARAMETER.sub(r"\g<1>**********", url)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and the files that it names, ``overrides`` (by field name) first.

    Raises :class:`penstock.errors.UsageError` with one line for each wrong value.
    """
    for field in SECRETS:
        secret = None if field in overrides else secret_of(os.environ, variable(field))
        if secret is not None:
            overrides[field] = SecretStr(secret)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise UsageError("; ".join(_explain(item) for item in error.errors(include_url=False))) from None


def _explain(item: Any) -> str:
    location = str(item["loc"][0]) if item["loc"] else ""
    name = variable(location) if location in Settings.model_fields else location.upper()
    message = str(item["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    secret = any(word in name for word in ("PASSWORD", "DATABASE_URL"))
    value = "its value" if secret else repr(item["input"])
    return f"{name}: {value} is wrong: {message}"
