"""A real Kafka that lets nobody in without TLS and a password, and nobody do what no ACL allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from testbed.certificates import Certificates
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker

MECHANISM = "SCRAM-SHA-512"
ADMIN = "admin"
BROKER = "broker"
CONTROLLER = "controller"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class SecureKafka(KafkaBroker):
    """One KRaft node whose only listener for clients is SASL_SSL, with SCRAM-SHA-512 and the StandardAuthorizer.

    `passwords` are those of the users that exist from the start; `admin` is added to them and may do everything.
    The broker and its controller speak TLS with passwords to each other as well.
    """

    # A handshake and a login cost most of a second on a machine that is busy.
    answer_timeout_seconds: ClassVar[float] = 5.0
    start_timeout_seconds: ClassVar[float] = 180.0

    def __init__(
        self,
        passwords: Mapping[str, str],
        *,
        jvm_options: Sequence[str] = QUICK_START,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(jvm_options=jvm_options, settings=settings)
        self.certificates = Certificates(self.directory / "certificates")
        self.passwords = {ADMIN: f"{ADMIN}-secret", BROKER: f"{BROKER}-secret", **passwords}

    def client_settings(self, user: str) -> dict[str, str]:
        """The environment of a stage that logs in as this user."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": self.passwords[user],
            "KAFKA_SSL_CA_LOCATION": str(self.certificates.ca),
        }

    def client_config(self, user: str = ADMIN) -> dict[str, Any]:
        """The configuration of a confluent-kafka client that logs in as this user."""
        names = {"bootstrap_servers": "bootstrap.servers"}
        settings = {key.removeprefix("KAFKA_").lower(): value for key, value in self.client_settings(user).items()}
        return {names.get(key, key.replace("_", ".")): value for key, value in settings.items()}

    def _format_options(self) -> Sequence[str]:
        users = [f"{MECHANISM}=[name={name},password={secret}]" for name, secret in self.passwords.items()]
        return [word for user in users for word in ("--add-scram", user)]

    def _properties(self) -> dict[str, str]:
        plain = {name: value for name, value in super()._properties().items() if name not in self._settings}
        controller = f"CONTROLLER://127.0.0.1:{self.controller_port}"
        login = f'username="{CONTROLLER}" password="{CONTROLLER}-secret" user_{CONTROLLER}="{CONTROLLER}-secret"'
        broker = f'username="{BROKER}" password="{self.passwords[BROKER]}"'
        return {
            **plain,
            "listeners": f"CLIENT://{self.bootstrap_servers},{controller}",
            "advertised.listeners": f"CLIENT://{self.bootstrap_servers}",
            "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SASL_SSL",
            "inter.broker.listener.name": "CLIENT",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.client.scram-sha-512.sasl.jaas.config": f"{_SCRAM} {broker};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": f"{_PLAIN} {login};",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:{BROKER};User:{CONTROLLER}",
            **self._settings,
        }
