"""How the server shows itself to Ollama's clients."""

from __future__ import annotations

from lightrag_server.core.records import Mode
from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group


class OllamaSettings(Group):
    heading = "Ollama's API"

    model_name: str = setting(
        "OLLAMA_EMULATING_MODEL_NAME", "lightrag", "Name of the model in lists.", flag="--simulated-model-name"
    )
    model_tag: str = setting(
        "OLLAMA_EMULATING_MODEL_TAG", "latest", "What follows the colon in it.", flag="--simulated-model-tag"
    )
    default_mode: Mode = setting("OLLAMA_DEFAULT_MODE", "hybrid", "Mode of messages that begin with no prefix.")
    sources: bool = setting("OLLAMA_SOURCES", True, "Put the list of sources below each answer.")

    @property
    def model(self) -> str:
        return f"{self.model_name}:{self.model_tag}"
