"""Logging: structlog, to stderr, as lines for people or as JSON."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import stamina
import structlog

from penstock.settings import Settings
from penstock.tracing import add_trace_ids, wanted


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's records to stderr in the chosen format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if wanted():
        shared.append(add_trace_ids)
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    as_json: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    render: list[structlog.typing.Processor] = as_json if settings.log_format == "json" else [console]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    stamina.instrumentation.set_on_retry_hooks(())  # `wait_for` reports; the library would log every attempt
    handler = _ToStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "faust", "mode", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is now: a bar takes its place while it is shown, and keeps below the lines."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        raise AttributeError("it is always standard error")


@contextmanager
def about_batch(
    topic: str, partition: int | Sequence[int], offsets: str, *, after_errors: bool = False
) -> Iterator[None]:
    """Say which batch it is about in each log line that is written inside of the block; ``after_errors`` also in those
    behind an error that leaves it, which say why the stage stops."""
    before = structlog.contextvars.bind_contextvars(topic=topic, partition=partition, offsets=offsets)
    try:
        yield
    except BaseException:
        if not after_errors:
            structlog.contextvars.reset_contextvars(**before)
        raise
    structlog.contextvars.reset_contextvars(**before)


def get_logger(stage: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of ``stage``."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(stage).bind(stage=stage)
    return logger
