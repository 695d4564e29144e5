"""From command line, environment, .env and config.ini to `Settings`. The only place that gathers values."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from lightrag_server.core.prices import read_prices
from lightrag_server.errors import ConfigError, InvalidInput
from lightrag_server.settings import Settings
from lightrag_server.settings.declarations import Declaration, declarations, groups
from lightrag_server.settings.ingest import IngestSettings
from lightrag_server.settings.options import options_parser
from lightrag_server.settings.server import ServerSettings
from lightrag_server.settings.telemetry import TelemetrySettings
from lightrag_server.settings.unsupported import warnings_for
from lightrag_server.settings.values import absolute, read_value

ENV_FILE = ".env"
INI_FILE = "config.ini"


@dataclass(frozen=True)
class Given:
    """A raw text and where it stands: `name` is the variable, option or key, `origin` the source."""

    name: str
    origin: str
    raw: str


@dataclass(frozen=True)
class Loaded:
    """`origins` names the source of each variable that was set; the others have their default."""

    settings: Settings
    origins: dict[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()


def load(argv: Sequence[str] | None, *, environ: Mapping[str, str], start_dir: Path) -> Settings:
    """Raise `ConfigError` with one sentence for a wrong value; a wrong option leaves as argparse does, with code 2."""
    return load_with_origins(argv, environ=environ, start_dir=start_dir).settings


def load_with_origins(argv: Sequence[str] | None, *, environ: Mapping[str, str], start_dir: Path) -> Loaded:
    options = vars(options_parser("lightrag-server").parse_args([] if argv is None else list(argv)))
    return gather(options, environ=environ, start_dir=start_dir)


def gather(options: Mapping[str, str | None], *, environ: Mapping[str, str], start_dir: Path) -> Loaded:
    """As `load_with_origins`, with the options already parsed (raw texts by variable name)."""
    env_file = _env_file(start_dir / ENV_FILE)
    ini = _ini_file(start_dir / INI_FILE)
    find = partial(_find, options=options, layers={"environment": environ, ENV_FILE: env_file}, ini=ini)
    given = {d.env: found for d in declarations() if (found := find(d)) is not None}
    settings = Settings(**{name: _group(name, given, start_dir) for name in groups()})
    _check_server(settings.server)
    _check_ingest(settings.ingest)
    _check_telemetry(settings.telemetry)
    return Loaded(
        settings=settings,
        origins={env: found.origin for env, found in given.items()},
        warnings=tuple(warnings_for(_names_set(env_file, environ))),
    )


def from_process(options: Mapping[str, str | None]) -> Loaded:
    """As `gather`, with the environment of this process and its current folder."""
    return gather(options, environ=os.environ, start_dir=Path.cwd())


# ----------------------------------------------------------------------------- sources


def _env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        values = dotenv_values(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    return {name: value for name, value in values.items() if value is not None}


def _ini_file(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {reason}.") from error
    return parser


def _find(
    declaration: Declaration,
    *,
    options: Mapping[str, str | None],
    layers: Mapping[str, Mapping[str, str]],
    ini: configparser.ConfigParser,
) -> Given | None:
    """The value of highest precedence that is not empty."""
    if raw := options.get(declaration.env):
        return Given(str(declaration.flag), "command line", raw)
    for origin, layer in layers.items():
        for name in declaration.names:
            if layer.get(name, "").strip():
                return Given(name, origin, layer[name])
    if declaration.ini is not None:
        section, key = declaration.ini
        if raw := ini.get(section, key, fallback=""):
            return Given(f"{key} in section [{section}]", INI_FILE, raw)
    return None


def _names_set(*layers: Mapping[str, str]) -> set[str]:
    return {name for layer in layers for name, value in layer.items() if value.strip()}


# ----------------------------------------------------------------------------- values


def _group(name: str, given: Mapping[str, Given], start_dir: Path) -> Any:
    own = {d.field: d for d in declarations() if d.group == name}
    values = {d.field: _value(d, given[d.env], start_dir) for d in own.values() if d.env in given}
    for d in own.values():
        if isinstance(d.default, Path) and d.field not in values:
            values[d.field] = absolute(d.default, start_dir)
    if name == "ingest":
        values = _with_fitting_overlaps(values)
    try:
        return groups()[name](**values)
    except ValidationError as error:
        declaration = own[str(error.errors()[0]["loc"][0])]
        raise _wrong(declaration, given[declaration.env]) from None


def _value(declaration: Declaration, given: Given, start_dir: Path) -> Any:
    try:
        return read_value(declaration, given.raw, start_dir)
    except ValueError:
        raise _wrong(declaration, given) from None


def _wrong(declaration: Declaration, given: Given) -> ConfigError:
    shown = "has a value that is not allowed" if declaration.is_secret else f"is {given.raw!r}"
    return ConfigError(f"{given.name} ({given.origin}) {shown}; it must be {declaration.allowed}.")


def _with_fitting_overlaps(values: dict[str, Any]) -> dict[str, Any]:
    """Somebody who only makes chunks small does not have to think of the default overlap."""
    fitted = dict(values)
    for part in ("chunk", "window"):
        size, overlap = f"{part}_size", f"{part}_overlap"
        if size in values and overlap not in values and str(values[size]).isdecimal():
            fitted[overlap] = min(IngestSettings.model_fields[overlap].default, int(values[size]) // 4)
    return fitted


# ----------------------------------------------------------------------------- settings that must fit together


def _check_ingest(ingest: IngestSettings) -> None:
    pairs = (
        ("CHUNK_OVERLAP_SIZE", ingest.chunk_overlap, "CHUNK_SIZE", ingest.chunk_size),
        ("WINDOW_OVERLAP_SIZE", ingest.window_overlap, "WINDOW_SIZE", ingest.window_size),
    )
    for overlap_name, overlap, size_name, size in pairs:
        if size is not None and overlap >= size:
            raise ConfigError(f"{overlap_name} is {overlap}; it must be less than {size_name}, which is {size}.")


def _check_telemetry(telemetry: TelemetrySettings) -> None:
    try:
        read_prices(telemetry.model_prices)
    except InvalidInput as error:
        raise ConfigError(f"MODEL_PRICES is {telemetry.model_prices!r}: {error}.") from None


def _check_server(server: ServerSettings) -> None:
    if not server.ssl:
        return
    for name, path in (("SSL_CERTFILE", server.ssl_certfile), ("SSL_KEYFILE", server.ssl_keyfile)):
        if path is None:
            raise ConfigError(f"SSL is on; {name} must name a PEM file.")
        if not path.is_file():
            raise ConfigError(f"{name} is {str(path)!r}; it must be a file that exists, since SSL is on.")
