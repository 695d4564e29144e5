"""The command line. Heavy imports happen inside the commands that need them, so that help and mistakes are quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lightrag_server import logs
from lightrag_server.errors import ConfigError, DimensionMismatch, LightRAGError

PROGRAM = "lightrag-server"
EXIT_WRONG_SETTING = 2
EXIT_FAILED = 1

Command = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a failure, 2 for a wrong setting."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "serve"
    try:
        return COMMANDS[name][1](arguments)
    except (ConfigError, DimensionMismatch) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_WRONG_SETTING
    except LightRAGError as error:
        print(f"{PROGRAM}: cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED


def serve(arguments: Sequence[str]) -> int:
    """Serve the API and work on documents."""
    from lightrag_server.settings.loader import from_process
    from lightrag_server.settings.options import options_parser

    options = vars(options_parser(PROGRAM, _commands_text()).parse_args(arguments))
    loaded = from_process(options)
    logs.configure(loaded.settings.server.log_level, verbose=loaded.settings.server.verbose)
    for warning in loaded.warnings:
        logging.getLogger(__name__).warning(warning)

    from lightrag_server.serving import run

    run(loaded)
    return 0


def settings(arguments: Sequence[str]) -> int:
    """Show every setting, or write env.example, config.ini.example and docs/settings.md."""
    from lightrag_server.settings import examples

    parser = argparse.ArgumentParser(prog=f"{PROGRAM} settings", description=settings.__doc__)
    parser.add_argument("--write", metavar="DIR", type=Path, help="write the files below this folder")
    folder = parser.parse_args(arguments).write
    if folder is None:
        print(examples.env_example(), end="")
        return 0
    for path in examples.write_files(folder):
        print(path)
    return 0


COMMANDS: dict[str, tuple[str, Command]] = {
    "serve": ("serve the API (the default)", serve),
    "settings": ("show every setting, or write the example files", settings),
}


def _commands_text() -> str:
    listed = "; ".join(f"{name}: {text}" for name, (text, _) in COMMANDS.items())
    return f"Commands, named before the options: {listed}. Each has its own --help."
