"""Example files and the reference page, written from the declarations. A test keeps those in the repository equal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from lightrag_server.settings.declarations import Declaration, declarations, groups
from lightrag_server.settings.loader import ENV_FILE, INI_FILE
from lightrag_server.settings.unsupported import UNSUPPORTED

_ENV_HEAD = f"""\
# Settings of lightrag-server. Copy this file to {ENV_FILE} in the folder you start the server from
# and remove the # in front of what you change. Values shown are the defaults; none shown means unset.
# The real environment wins over this file, and an option on the command line wins over both.
# Timeouts may be None for no limit.
"""
_INI_HEAD = f"""\
; Connections of storages. Copy this file to {INI_FILE} in the folder you start the server from.
; A variable of the environment or of {ENV_FILE} wins over the key here.
"""
_PAGE_HEAD = f"""\
# Settings

Each setting is looked up in this order, the first one found holds; an empty text counts as unset:

1. the option on the command line,
2. the environment variable,
3. the same variable in `{ENV_FILE}` in the start directory,
4. `{INI_FILE}` in the start directory (storages only),
5. the default.

Yes and no: `true`, `1`, `yes`, `t`, `on` and `false`, `0`, `no`, `f`, `off`. A wrong value stops the start with one
sentence and exit code 2. Settings are read once: changes need a restart. `lightrag-server settings --write .` writes
this page, `env.example` and `config.ini.example`.
"""


def files() -> dict[str, str]:
    """Content by path relative to the repository."""
    return {
        "env.example": env_example(),
        "config.ini.example": ini_example(),
        "docs/settings.md": reference_page(),
    }


def write_files(folder: Path) -> list[Path]:
    """Write all example files below `folder`; return where they are."""
    written: list[Path] = []
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def env_example() -> str:
    return "\n".join([_ENV_HEAD, *(_env_group(name) for name in groups())])


def _env_group(name: str) -> str:
    lines = [f"### {groups()[name].heading}", ""]
    for declaration in _of_group(name):
        lines += _wrapped(_explained(declaration), "# ")
        lines += [f"# {declaration.env}={_quoted(declaration.shown_default)}", ""]
    return "\n".join(lines)


def ini_example() -> str:
    sections = dict.fromkeys(d.ini[0] for d in declarations() if d.ini)
    return "\n".join([_INI_HEAD, *(_ini_section(section) for section in sections)])


def _ini_section(section: str) -> str:
    lines = [f"[{section}]"]
    for declaration in declarations():
        if declaration.ini and declaration.ini[0] == section:
            lines += _wrapped(_explained(declaration), "; ")
            lines.append(f"; {declaration.ini[1]} = {declaration.shown_default}")
    return "\n".join(lines) + "\n"


def reference_page() -> str:
    parts = [_PAGE_HEAD, *(_page_group(name) for name in groups())]
    return "\n".join([*parts, "\n".join(_page_unsupported()), ""])


def _page_group(name: str) -> str:
    lines = [f"## {groups()[name].heading}", "", "| Variable | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for d in _of_group(name):
        names = "<br>".join(
            [f"`{d.env}`", *(f"`{d.flag}`" for _ in [d] if d.flag), *(f"also `{n}`" for n in d.old_names)]
        )
        default = f"`{d.shown_default}`" if d.shown_default else ""
        lines.append(f"| {names} | {_cell(default)} | {_cell(_allowed(d))} | {_cell(d.help)} |")
    return "\n".join(lines) + "\n"


def _page_unsupported() -> Iterator[str]:
    yield "## Variables of LightRAG without effect"
    yield ""
    yield "Setting one of these is said once in the log at start."
    yield ""
    yield "| Variable | Instead |"
    yield "|---|---|"
    for name, instead in UNSUPPORTED.items():
        yield f"| `{name}` | {_cell(instead)} |"


def _of_group(name: str) -> list[Declaration]:
    return [d for d in declarations() if d.group == name]


def _allowed(declaration: Declaration) -> str:
    return f"{declaration.allowed}, in {declaration.unit}" if declaration.unit else declaration.allowed


def _explained(declaration: Declaration) -> str:
    return f"{declaration.explanation} [{declaration.unit}]" if declaration.unit else declaration.explanation


def _wrapped(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(text, width=116, initial_indent=prefix, subsequent_indent=prefix)


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
