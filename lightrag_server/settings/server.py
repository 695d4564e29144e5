"""Where the server listens, who may speak to it, and what it accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ServerSettings(Group):
    heading = "Server"

    host: str | None = setting(
        "HOST",
        None,
        "Address to listen on. Unset: 0.0.0.0 when an API key or an account exists, else 127.0.0.1.",
        flag="--host",
    )
    port: int = setting("PORT", 9621, "Port to listen on.", flag="--port", ge=0, le=65535)
    working_dir: Path = setting("WORKING_DIR", Path("./rag_storage"), "Folder of all data.", flag="--working-dir")
    input_dir: Path = setting("INPUT_DIR", Path("./inputs"), "Folder that /documents/scan reads.", flag="--input-dir")
    workspace: str = setting("WORKSPACE", "", "Workspace used when a request names none.", flag="--workspace")
    workspace_auto_create: bool = setting(
        "WORKSPACE_AUTO_CREATE",
        True,
        "A request that writes to an unknown workspace makes it; false answers 404 until POST /workspaces has made it.",
    )
    key: SecretStr | None = setting(
        "LIGHTRAG_API_KEY",
        None,
        "Key of the administrator, sent as X-API-Key or as a bearer. Others: `lightrag-server keys`.",
        flag="--key",
    )
    ssl: bool = setting("SSL", False, "Serve HTTPS.", flag="--ssl")
    ssl_certfile: Path | None = setting("SSL_CERTFILE", None, "Certificate, PEM.", flag="--ssl-certfile")
    ssl_keyfile: Path | None = setting("SSL_KEYFILE", None, "Private key, PEM.", flag="--ssl-keyfile")
    log_level: LogLevel = setting("LOG_LEVEL", "INFO", "Least important lines to log.", flag="--log-level")
    verbose: bool = setting("VERBOSE", False, "Log prompts, replies and storage calls too.", flag="--verbose")
    auto_scan_at_startup: bool = setting(
        "AUTO_SCAN_AT_STARTUP", False, "Index new files of INPUT_DIR at start.", flag="--auto-scan-at-startup"
    )
    max_upload_bytes: int = setting(
        "MAX_UPLOAD_SIZE", 100 * 1024**2, "Largest file accepted.", unit="bytes", ge=1, none=2**62
    )
    max_body_bytes: int | None = setting(
        "MAX_REQUEST_BODY_BYTES",
        None,
        "Largest request body other than an upload; 0 lifts all limits. "
        "Unset: 1 MiB, and 50 MiB where texts or images are sent.",
        unit="bytes",
        ge=0,
    )
    max_texts: int = setting(
        "MAX_TEXTS_PER_REQUEST", 0, "Most texts of one /documents/texts request; 0 means no limit.", ge=0
    )
    max_graph_nodes: int = setting("MAX_GRAPH_NODES", 1000, "Most entities of one /graphs answer.", ge=1, le=100_000)
    cors_origins: str = setting(
        "CORS_ORIGINS", "", "Origins whose pages may call this server from a browser, comma separated; * for any."
    )
    api_prefix: str = setting(
        "LIGHTRAG_API_PREFIX", "", "Path under which a reverse proxy serves this server.", flag="--api-prefix"
    )
    api_docs: bool = setting("ENABLE_API_DOCS", True, "Serve /docs, /redoc and /openapi.json.")
    title: str | None = setting("WEBUI_TITLE", None, "Name shown to users.")
    description: str | None = setting("WEBUI_DESCRIPTION", None, "Line shown below the name.")
    keep_alive_s: int = setting("KEEPALIVE", 5, "Longest idle time of a connection.", unit="seconds", ge=1)
    max_event_streams: int = setting(
        "MAX_EVENT_STREAMS", 100, "Most open streams of GET /documents/events in one process.", ge=1
    )
    event_stream_s: int = setting(
        "EVENT_STREAM_SECONDS",
        3600,
        "Length after which a stream of events ends; clients come back by themselves, and are authorised again.",
        unit="seconds",
        ge=1,
    )
    stop_timeout_s: int = setting(
        "STOP_TIMEOUT",
        10,
        "When the server stops, the longest wait for running requests, and then for model calls of documents that run.",
        unit="seconds",
        ge=0,
    )
    workers: int = setting("WORKERS", 2, "Processes of lightrag-gunicorn that answer.", flag="--workers", ge=1, le=256)
    job_workers: int = setting(
        "JOB_WORKERS",
        1,
        "Processes of lightrag-gunicorn that work on documents, so that no question waits for that; "
        "with 0 those of `lightrag-server worker` do.",
        ge=0,
        le=64,
    )
    jobs_apart: bool = setting(
        "JOBS_APART",
        True,
        "lightrag-server works on documents in a process of its own, which is there while there are any, so that no "
        "question waits for that; false: in the process that answers.",
    )
    worker_timeout_s: int = setting(
        "WORKER_TIMEOUT",
        60,
        "A process that gives no sign of life to the one that looks after it for so long is replaced.",
        unit="seconds",
        ge=10,
    )
