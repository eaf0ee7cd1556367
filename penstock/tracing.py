"""Tracing, as far as a process knows it while it is off: whether it is wanted, and what log lines say of it.

OpenTelemetry is imported by the process that traces, and by no other. Which stage makes which spans is its own
business (``producers/traces.py`` and its like); what they share is :class:`penstock.tracing_spans.Tracing`.
"""

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.tracing_spans import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables for where spans go."""


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment asks for traces: an exporter, or an address for the usual one, and no veto."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters:
        return exporters != "none"
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


@contextmanager
def tracing(stage: str, settings: Settings) -> Iterator["Tracing | None"]:
    """Yield what makes the spans of ``stage`` while the block runs, None when no traces are wanted.

    Spans that are not delivered when it ends are waited for, but not for long. Raises
    :class:`penstock.errors.UsageError` for an ``OTEL_*`` variable that can't be followed.
    """
    if not wanted():
        yield None
        return
    from penstock.tracing_export import begin, end

    provider, made = begin(stage, settings)
    try:
        yield made
    finally:
        end(provider)


def add_trace_ids(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add ``trace_id`` and ``span_id`` to a log line that is written inside of a span (a structlog processor)."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return line
    context = api.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = api.format_trace_id(context.trace_id)
        line["span_id"] = api.format_span_id(context.span_id)
    return line
