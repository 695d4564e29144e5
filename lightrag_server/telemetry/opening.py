"""Opens what listens and closes it at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from lightrag_server.ports.telemetry import NoMeter, NoTracer, Telemetry, Tracer
from lightrag_server.settings.telemetry import TelemetrySettings
from lightrag_server.telemetry.meter import FileMeter
from lightrag_server.telemetry.targets import targets_of

log = logging.getLogger(__name__)

EXTRA = "lightrag-server[otel]"


@asynccontextmanager
async def open_telemetry(folder: Path, settings: TelemetrySettings) -> AsyncGenerator[Telemetry]:
    """Numbers are kept below `folder`. Where it cannot be written to, nothing is counted and a warning says so."""
    meter = await asyncio.to_thread(_open_meter, folder)
    tracer = _open_tracer(settings)
    try:
        yield Telemetry(meter or NoMeter(), tracer)
    finally:
        await asyncio.to_thread(tracer.close)
        if meter:
            await asyncio.to_thread(_close_meter, meter)


def _open_meter(folder: Path) -> FileMeter | None:
    try:
        return FileMeter(folder)
    except OSError as error:
        log.warning("nothing is counted for /metrics: %s", error)
        return None


def _close_meter(meter: FileMeter) -> None:
    try:
        meter.close()
    except OSError as error:
        log.warning("the counts for /metrics are not added up yet: %s", error)


def _open_tracer(settings: TelemetrySettings) -> Tracer:
    targets = targets_of(settings)
    if not targets:
        return NoTracer()
    try:
        from lightrag_server.telemetry.traces import OtelTracer
    except ModuleNotFoundError as error:  # such variables are often set for whole hosts
        log.warning("no traces are sent: that needs the package %r: pip install '%s'", error.name, EXTRA)
        return NoTracer()
    return OtelTracer(targets, settings.service_name, has_content=settings.trace_content)
