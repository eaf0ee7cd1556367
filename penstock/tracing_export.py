"""OpenTelemetry's SDK, set up from its own ``OTEL_*`` variables. Imported only by a process that traces."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from importlib.metadata import entry_points, version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

from penstock.errors import UsageError
from penstock.settings import Settings
from penstock.tracing_spans import Budget, Tracing

DEFAULT_RATE = 0.01
"""The share of events that begin a trace, where ``OTEL_TRACES_SAMPLER_ARG`` says nothing else."""

END_GRACE_S = 2.0
"""How long the end of a process waits for spans to be delivered."""

_COMPLAIN_EVERY_S = 30.0
_COMPLAINING = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


def begin(stage: str, settings: Settings) -> tuple[TracerProvider, Tracing]:
    """Return a provider by the environment, and what makes the stage's spans. Raises :class:`UsageError`."""
    exporters = [_exporter(name) for name in _names()]
    provider, made = provide(stage, settings)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    for name in _COMPLAINING:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _NowAndThen) for each in logger.filters):
            logger.addFilter(_NowAndThen())
    return provider, made


def provide(stage: str, settings: Settings) -> tuple[TracerProvider, Tracing]:
    """Return a provider without an exporter, and what makes spans with it."""
    provider = TracerProvider(_sampler(), _resource(stage), shutdown_on_exit=False)
    rate = _rate(provider.sampler)
    provider.id_generator = _ChosenIds(rate)
    tracer = provider.get_tracer("penstock", version("penstock"))
    return provider, Tracing(tracer, rate, Budget(settings.trace_spans_per_second))


def end(provider: TracerProvider) -> None:
    """Deliver what is left, for :data:`END_GRACE_S` at most: a collector that is away must not hold up a stage."""
    ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    ending.start()
    ending.join(END_GRACE_S)


def _names() -> list[str]:
    names = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    return [name.strip() for name in names.split(",")]


def _exporter(name: str) -> SpanExporter:
    if name in ("otlp", "otlp_proto_http"):
        for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            protocol = os.environ.get(variable, "").strip() or "http/protobuf"
            if protocol != "http/protobuf":
                raise UsageError(f"{variable}: {protocol!r} is wrong: Penstock speaks http/protobuf (port 4318)")
        return OTLPSpanExporter()
    known = {point.name: point for point in entry_points(group="opentelemetry_traces_exporter")}
    if name not in known:
        raise UsageError(f"OTEL_TRACES_EXPORTER: {name!r} is not installed; there are otlp, {', '.join(sorted(known))}")
    made: Callable[[], SpanExporter] = known[name].load()
    return made()


def _sampler() -> Sampler | None:
    """Return the sampler that holds where the environment names none; else None: the SDK reads it."""
    if os.environ.get("OTEL_TRACES_SAMPLER", "").strip():
        return None
    argument = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    try:
        return ParentBased(TraceIdRatioBased(float(argument) if argument else DEFAULT_RATE))
    except ValueError:
        raise UsageError(f"OTEL_TRACES_SAMPLER_ARG: {argument!r} is wrong: must be a number from 0 to 1") from None


def _rate(sampler: Sampler) -> float:
    """Return the share of traces that ``sampler`` takes; 1 for one that decides by more than chance."""
    root = getattr(sampler, "_root", sampler)
    if isinstance(root, TraceIdRatioBased):
        return root.rate
    return 0.0 if "AlwaysOff" in root.get_description() else 1.0


def _resource(stage: str) -> Resource:
    named = SERVICE_NAME in OTELResourceDetector().detect().attributes
    own = {"service.version": version("penstock")} | ({} if named else {SERVICE_NAME: f"penstock-{stage}"})
    return Resource.create(own)


class _ChosenIds(RandomIdGenerator):
    """Trace ids that a sampler by ratio takes: what begins a trace here was chosen before (see ``gaps``)."""

    def __init__(self, rate: float) -> None:
        self._bound = max(TraceIdRatioBased.get_bound_for_rate(rate), 2)

    def generate_trace_id(self) -> int:
        """Return 128 bits, the lower 64 below the sampler's bound."""
        return random.getrandbits(64) << 64 | random.randrange(1, self._bound)  # noqa: S311  # an id, no secret


class _NowAndThen(logging.Filter):
    """Lets a line through every 30 s: a collector may be away for hours, and spans are lost one by one."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _COMPLAIN_EVERY_S
        return True
