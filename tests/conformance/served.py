"""Our own description, made without opening the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightrag_server.api.app import create_app
from lightrag_server.settings.loader import load
from tests.server import FAKE

DOCUMENT: dict[str, Any] = create_app(load([], environ=FAKE, start_dir=Path(__file__).parent)).openapi()
