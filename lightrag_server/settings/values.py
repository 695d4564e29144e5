"""One raw text to one value, as LightRAG reads its variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightrag_server.settings.declarations import Declaration

TRUE_WORDS = frozenset({"true", "1", "yes", "t", "on"})
FALSE_WORDS = frozenset({"false", "0", "no", "f", "off"})


def read_value(declaration: Declaration, raw: str, start_dir: Path) -> Any:
    """The value that pydantic then validates. Raises `ValueError` where no such value exists; ranges are pydantic's."""
    text = raw.strip()
    if text.lower() == "none" and (declaration.is_optional or declaration.none is not None):
        return declaration.none
    if declaration.kind is bool:
        return _boolean(text)
    if declaration.choices:
        return _choice(text, declaration.choices)
    if declaration.kind is Path:
        return absolute(Path(text), start_dir)
    return raw if declaration.kind is str else text


def absolute(path: Path, start_dir: Path) -> Path:
    return (start_dir / path.expanduser()).absolute()


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError(text)
    return word in TRUE_WORDS


def _choice(text: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError(text)
