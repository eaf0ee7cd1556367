"""Why a broker can't be talked to: librdkafka says only that it is away, tries for ever, and tells why aside.

A wrong password, an unknown user and a certificate that does not verify are told from a broker that is down.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from penstock.log import get_logger

LOOK_S = 2.0
"""How long :func:`cause_of` looks; the first error, which ends it, comes within a moment."""

SAY_AGAIN_S = 30.0
"""How often a running client repeats that it is refused; librdkafka tries every second or two."""

_LOGIN = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_AROUND = re.compile(r"^\S+/(?:bootstrap|\d+): | \(after \d+ms in state \w+\)$")


class Cause(NamedTuple):
    """Why: ``refused`` when it is not away but turns us away, or we it, until a setting is put right."""

    refused: bool
    why: str


def cause(error: KafkaError) -> Cause | None:
    """Return what an error event of a client stands for; None when it says no more than that the broker is away."""
    detail = _AROUND.sub("", error.str())
    if error.code() in _LOGIN:
        return Cause(True, f"the broker refuses our login: {detail}; check KAFKA_SASL_*")
    if error.code() == KafkaError._SSL:
        return Cause(True, f"no TLS with the broker: {detail}; check KAFKA_SSL_* and KAFKA_SECURITY_PROTOCOL")
    if error.code() in (KafkaError._TRANSPORT, KafkaError._RESOLVE):
        return Cause(False, f"the broker does not answer: {detail}")
    return None


def cause_of(config: Mapping[str, Any], look_s: float = LOOK_S) -> Cause | None:
    """Return why a client with ``config`` can't talk to the broker; None when it can, or nothing is known in time."""
    seen: list[KafkaError] = []
    settings: dict[str, Any] = {**config, "error_cb": seen.append}
    client = AdminClient(settings)
    answer = client.describe_cluster(request_timeout=look_s)
    deadline = time.monotonic() + look_s
    while not seen and not answer.done() and time.monotonic() < deadline:
        client.poll(0.05)
    causes = [found for error in seen if (found := cause(error)) is not None]
    return max(causes, default=None, key=lambda found: found.refused)


class ErrorEvents:
    """The error callback of a client: tells ``away`` that the broker is away or refuses us, and logs refusals."""

    def __init__(
        self, away: Callable[[str], None] = lambda _why: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._away, self._clock = away, clock
        self._said: float | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take one event; librdkafka has many of them while it tries."""
        get_logger("kafka").debug("client event", code=error.name(), detail=error.str())
        found, now = cause(error), self._clock()
        recently = self._said is not None and now - self._said < SAY_AGAIN_S
        if found is not None and found.refused:
            self._away(found.why)
            if not recently:
                self._said = now
                get_logger("kafka").error("the broker refuses us", why=found.why)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and not recently:
            self._away(error.str())
