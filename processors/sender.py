"""Sending to Kafka: a confluent-kafka producer that never loses an error."""

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from penstock.errors import ProtectiveStop
from penstock.health import Health
from penstock.kafka import producer_config
from penstock.letters import max_letter_bytes
from penstock.settings import Settings
from processors.stall import MAIN_LOOP

KeyedHeaders = Mapping[bytes, list[tuple[str, bytes]]]
"""Headers by the key of the message that gets them."""

NO_HEADERS: KeyedHeaders = MappingProxyType({})

_FLUSH_SLICE_S = 0.5
_SLOW_FLUSH_S = 5.0
_BACKPRESSURE_SLICE_S = 0.05


class Sender:
    """Hands messages to librdkafka and knows when all are acknowledged.

    A message is tried until the broker takes it, for however long the broker is away. One that the broker refuses
    for good raises :class:`ProtectiveStop` at the next call: its offsets must not be committed.
    """

    def __init__(
        self, settings: Settings, health: Health, client: Callable[[dict[str, Any]], Any] = Producer
    ) -> None:
        self._health = health
        self._refused: str | None = None
        config = producer_config(
            settings,
            linger_ms=5,
            message_timeout_ms=0,
            delivery_report_only_error=True,
            queue_buffering_max_messages=100_000,  # of some 400 bytes each, with what the client adds
        )
        config["message.max.bytes"] = max_letter_bytes(settings.max_record_bytes) + 1_000_000
        self._producer = client(config)

    def _on_refused(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._refused = f"the broker refused a message for {message.topic()}: {error.str()}"

    def send(
        self, topic: str, messages: Iterable[tuple[bytes, bytes]], headers: KeyedHeaders = NO_HEADERS
    ) -> None:
        """Hand messages over, those whose key is in ``headers`` with these. Blocks while the queue is full."""
        produce, poll = self._producer.produce, self._producer.poll
        for key, value in messages:
            while True:
                try:
                    if headers and key in headers:
                        produce(topic, value, key, on_delivery=self._on_refused, headers=headers[key])
                    else:
                        produce(topic, value, key, on_delivery=self._on_refused)
                    break
                except BufferError:
                    self._health.beat(MAIN_LOOP)
                    poll(_BACKPRESSURE_SLICE_S)
                except KafkaException as error:
                    raise ProtectiveStop(f"topic {topic} can't take a message: {error.args[0].str()}") from None
        poll(0)
        self._check()

    def flush(self) -> None:
        """Return when all that was handed over is acknowledged, however long the broker is away."""
        began, slow = time.monotonic(), False
        while left := self._producer.flush(_FLUSH_SLICE_S):
            self._check()
            if not slow and time.monotonic() - began > _SLOW_FLUSH_S:
                slow = True
                self._health.away("kafka", f"{left} messages wait for their acknowledgement")
        self._check()
        if slow:
            self._health.here("kafka")

    def _check(self) -> None:
        if self._refused is not None:
            raise ProtectiveStop(f"{self._refused}; nothing more is committed")
