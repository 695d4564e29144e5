"""To whom spans are sent, as the settings say it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from lightrag_server.settings.telemetry import TelemetrySettings

LANGFUSE_PATH = "/api/public/otel/v1/traces"
TRACES_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Target:
    """Without headers of its own it gets those of OTEL_EXPORTER_OTLP_HEADERS, which the SDK reads."""

    url: str
    headers: dict[str, str]


def targets_of(settings: TelemetrySettings) -> list[Target]:
    found: list[Target] = []
    if settings.otlp_traces_endpoint:
        found.append(Target(settings.otlp_traces_endpoint, {}))
    elif settings.otlp_endpoint:
        found.append(Target(settings.otlp_endpoint.rstrip("/") + TRACES_PATH, {}))
    public, secret = settings.langfuse_public_key, settings.langfuse_secret_key
    if public and secret:
        pair = f"{public}:{secret.get_secret_value()}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        found.append(Target(settings.langfuse_host.rstrip("/") + LANGFUSE_PATH, headers))
    return found
