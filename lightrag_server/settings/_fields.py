"""How a setting is declared: once, with its environment name, default, unit and help."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def setting(
    env: str,
    default: Any,
    help: str,
    *,
    unit: str | None = None,
    flag: str | None = None,
    old_names: tuple[str, ...] = (),
    ini: tuple[str, str] | None = None,
    none: Any = None,
    **limits: Any,
) -> Any:
    """Declare one setting.

    `env` is the variable's name and `old_names` are accepted too; `flag` is the command line option;
    `ini` is the (section, key) of config.ini (storages only); `none` is what the word None stands for;
    `limits` are pydantic's (ge, le, …).
    """
    extra = {
        "env": env,
        "unit": unit,
        "flag": flag,
        "old_names": list(old_names),
        "ini": list(ini) if ini else None,
        "none": none,
    }
    return Field(default=default, description=help, json_schema_extra=extra, **limits)
