from __future__ import annotations

from typing import ClassVar

from pydantic_settings import BaseSettings, SettingsConfigDict


class Group(BaseSettings):
    """Settings that belong together; frozen. `title` heads the group in help texts and example files."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    title: ClassVar[str]
