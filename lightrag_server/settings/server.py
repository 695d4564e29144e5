"""Where the server listens, who may speak to it, and what it accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ServerSettings(Group):
    title = "Server"

    host: str | None = setting(
        "HOST",
        None,
        "Address to listen on. Unset: 0.0.0.0 when an API key is configured, else 127.0.0.1.",
        flag="--host",
    )
    port: int = setting("PORT", 9621, "Port to listen on.", flag="--port", ge=0, le=65535)
    working_dir: Path = setting("WORKING_DIR", Path("./rag_storage"), "Folder of all data.", flag="--working-dir")
    input_dir: Path = setting("INPUT_DIR", Path("./inputs"), "Folder that /documents/scan reads.", flag="--input-dir")
    workspace: str = setting("WORKSPACE", "", "Workspace used when a request names none.", flag="--workspace")
    key: SecretStr | None = setting(
        "LIGHTRAG_API_KEY", None, "Key that clients send as X-API-Key. Unset: no key is asked for.", flag="--key"
    )
    ssl: bool = setting("SSL", False, "Serve HTTPS.", flag="--ssl")
    ssl_certfile: Path | None = setting("SSL_CERTFILE", None, "Certificate, PEM.", flag="--ssl-certfile")
    ssl_keyfile: Path | None = setting("SSL_KEYFILE", None, "Private key, PEM.", flag="--ssl-keyfile")
    log_level: LogLevel = setting("LOG_LEVEL", "INFO", "Least important lines to log.", flag="--log-level")
    verbose: bool = setting("VERBOSE", False, "Log prompts, replies and storage calls too.", flag="--verbose")
    auto_scan_at_startup: bool = setting(
        "AUTO_SCAN_AT_STARTUP", False, "Index new files of INPUT_DIR at start.", flag="--auto-scan-at-startup"
    )
    max_upload_bytes: int = setting("MAX_UPLOAD_SIZE", 100 * 1024 * 1024, "Largest file accepted.", unit="bytes", ge=1)
    max_body_bytes: int = setting(
        "MAX_REQUEST_BODY_BYTES",
        50 * 1024 * 1024,
        "Largest request body other than an upload; 0 means no limit.",
        unit="bytes",
        ge=0,
    )
