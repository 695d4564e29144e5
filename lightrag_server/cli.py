"""The command line. Heavy imports happen inside the commands that need them, so that help and mistakes are quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightrag_server import logs
from lightrag_server.errors import ConfigError, DimensionMismatch, LightRAGError
from lightrag_server.log_file import LogFile

if TYPE_CHECKING:
    from lightrag_server.settings.loader import Loaded

PROGRAM = "lightrag-server"
FLEET_PROGRAM = "lightrag-gunicorn"
EXIT_WRONG_SETTING = 2
EXIT_FAILED = 1

Command = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of `lightrag-server`; the exit code is 0, 1 for a failure, 2 for a wrong setting."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "serve"
    return _ended(PROGRAM, lambda: COMMANDS[name][1](arguments), is_start=name in ("serve", "worker"))


def gunicorn() -> int:
    """`lightrag-gunicorn`: the exit codes are those of `main`."""
    return _ended(FLEET_PROGRAM, lambda: serve_with_many(sys.argv[1:]), is_start=True)


def _ended(program: str, command: Callable[[], int], *, is_start: bool) -> int:
    try:
        return command()
    except (ConfigError, DimensionMismatch) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_WRONG_SETTING
    except LightRAGError as error:
        print(f"{program}: {'cannot start: ' if is_start else ''}{error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED


def serve(arguments: Sequence[str]) -> int:
    """Serve the API and work on documents."""
    from lightrag_server.settings.loader import from_process
    from lightrag_server.settings.options import options_parser

    options = vars(options_parser(PROGRAM, _commands_text()).parse_args(arguments))
    loaded = _logging(from_process(options))

    from lightrag_server.standby import standing_by

    with standing_by(loaded) as helper:
        # what only the process that answers needs
        from lightrag_server.serving import run

        run(loaded, helper)
    return 0


def worker(arguments: Sequence[str]) -> int:
    """Work on documents and answer nobody: as many as you like, beside servers of the same WORKING_DIR."""
    from lightrag_server.settings.loader import from_process
    from lightrag_server.settings.options import options_parser

    options = vars(options_parser(f"{PROGRAM} worker", worker.__doc__ or "").parse_args(arguments))
    loaded = _logging(from_process(options))

    from lightrag_server.working import run

    run(loaded)
    return 0


def serve_with_many(arguments: Sequence[str]) -> int:
    """Serve the API with several processes, and work on documents in others."""
    from lightrag_server.settings.loader import from_process
    from lightrag_server.settings.options import options_parser

    options = vars(options_parser(FLEET_PROGRAM, serve_with_many.__doc__ or "").parse_args(arguments))

    def load() -> Loaded:
        return _logging(from_process(options))

    loaded = load()

    from lightrag_server.fleet import run

    return run(loaded, load)


def mcp(arguments: Sequence[str]) -> int:
    """Speak the Model Context Protocol on standard input and output. --key is whose rights hold, --workspace where."""
    from lightrag_server.settings.loader import from_process
    from lightrag_server.settings.options import options_parser

    options = vars(options_parser(f"{PROGRAM} mcp", mcp.__doc__ or "").parse_args(arguments))
    key = options.pop("LIGHTRAG_API_KEY")
    loaded = _logging(from_process(options))

    from lightrag_server.mcp_stdio import Acting, run

    run(loaded.settings, Acting(key, options["WORKSPACE"]))
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


def hash_password(arguments: Sequence[str]) -> int:
    """Print the hash of a password, for AUTH_ACCOUNTS."""
    from lightrag_server.access_commands import hash_password

    return hash_password(f"{PROGRAM} hash-password", arguments)


def keys(arguments: Sequence[str]) -> int:
    """Make, list and revoke API keys of WORKING_DIR; a server need not run."""
    from lightrag_server.access_commands import keys

    return keys(f"{PROGRAM} keys", arguments)


def evaluate(arguments: Sequence[str]) -> int:
    """Measure what is found and answered, and compare runs."""
    from lightrag_server.evaluation.command import run

    return run(f"{PROGRAM} eval", arguments)


def doctor(arguments: Sequence[str]) -> int:
    """Look for damage in WORKING_DIR, and mend it."""
    from lightrag_server.upkeep.doctor import run

    return run(f"{PROGRAM} doctor", arguments)


def backup(arguments: Sequence[str]) -> int:
    """Keep everything of WORKING_DIR in one file."""
    from lightrag_server.upkeep.backup import run

    return run(f"{PROGRAM} backup", arguments)


def restore(arguments: Sequence[str]) -> int:
    """Bring back what a backup holds."""
    from lightrag_server.upkeep.restore import run

    return run(f"{PROGRAM} restore", arguments)


COMMANDS: dict[str, tuple[str, Command]] = {
    "serve": ("serve the API (the default)", serve),
    "worker": ("work on documents only", worker),
    "mcp": ("speak the Model Context Protocol on standard input and output", mcp),
    "eval": ("measure retrieval and answers with a file of questions", evaluate),
    "settings": ("show every setting, or write the example files", settings),
    "keys": ("make, list and revoke API keys", keys),
    "doctor": ("look for damage in the data, and mend it", doctor),
    "backup": ("keep all data in one file, also while a server runs", backup),
    "restore": ("bring back the data of a backup", restore),
    "hash-password": ("print the hash of a password for AUTH_ACCOUNTS", hash_password),
}


def _logging(loaded: Loaded) -> Loaded:
    """Log as the settings say, and what is to be said of them."""
    server, telemetry = loaded.settings.server, loaded.settings.telemetry
    file = LogFile.of(telemetry.log_dir, telemetry.log_max_bytes, telemetry.log_backup_count)
    logs.configure(server.log_level, verbose=server.verbose, line_format=telemetry.log_format, file=file)
    for warning in loaded.warnings:
        logging.getLogger(__name__).warning(warning)
    return loaded


def _commands_text() -> str:
    listed = "; ".join(f"{name}: {text}" for name, (text, _) in COMMANDS.items())
    return f"Commands, named before the options: {listed}. Each has its own --help."
