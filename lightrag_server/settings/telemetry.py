"""What is told of the server's work: log lines, traces, costs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group


class TelemetrySettings(Group):
    heading = "Observability"

    log_format: Literal["text", "json"] = setting(
        "LOG_FORMAT", "text", "Log lines as text, or as JSON with one object in each line."
    )
    log_dir: Path | None = setting(
        "LOG_DIR", None, "Folder of lightrag.log, beside standard error. Unset: standard error alone."
    )
    log_max_bytes: int = setting(
        "LOG_MAX_BYTES", 10 * 1024**2, "Size at which lightrag.log is put aside; 0 never does.", unit="bytes", ge=0
    )
    log_backup_count: int = setting("LOG_BACKUP_COUNT", 5, "Files kept of those that were put aside.", ge=0, le=1000)
    model_prices: str = setting(
        "MODEL_PRICES",
        "",
        "Prices per million tokens: model=in/out, comma separated, or JSON. Without a model's price its cost is not "
        "shown.",
    )
    otlp_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "Base URL of an OpenTelemetry collector that takes OTLP over HTTP; needs the extra otel. Unset: no traces. "
        "Further variables of the SDK (OTEL_…) are read from the environment.",
    )
    otlp_traces_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, "The whole URL for traces, in place of the base."
    )
    service_name: str = setting("OTEL_SERVICE_NAME", "lightrag-server", "Name of this service in traces.")
    trace_content: bool = setting(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", False, "Put prompts and replies into traces."
    )
    langfuse_public_key: str | None = setting(
        "LANGFUSE_PUBLIC_KEY", None, "With LANGFUSE_SECRET_KEY: send traces to Langfuse, too."
    )
    langfuse_secret_key: SecretStr | None = setting("LANGFUSE_SECRET_KEY", None, "Key of the Langfuse project.")
    langfuse_host: str = setting(
        "LANGFUSE_HOST",
        "https://cloud.langfuse.com",
        "Address of Langfuse.",
        old_names=("LANGFUSE_BASE_URL",),
    )
