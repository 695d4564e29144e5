"""A real server process on a port of its own, for tests that kill, stop, stream or count."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

FAKE = {"LLM_BINDING": "fake", "EMBEDDING_BINDING": "fake"}
ADDRESS = re.compile(r"https?://\S+:\d+")
START_S = 30.0
STOP_S = 30.0
ALONE = ("-m", "lightrag_server")
MANY = ("-c", "from lightrag_server.cli import gunicorn; raise SystemExit(gunicorn())")
WORKER = ("-m", "lightrag_server", "worker")


@dataclass
class Server:
    """`output` grows while the process runs: the banner and the log lines."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "".join(self.output)

    @property
    def address(self) -> str:
        """Waits for the banner, which names it."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if found := ADDRESS.search(next((x for x in self.output if x.startswith("  address")), "")):
                return found.group()
            assert self.process.poll() is None, self.text
            time.sleep(0.01)
        raise AssertionError(f"no banner after {START_S:.0f} s: {self.text}")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, trust_env=False, verify=False)

    def kill_group(self) -> None:
        """The server and all its worker processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after the signal."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


def environment(**variables: str) -> dict[str, str]:
    """What a process needs to start, and nothing that would set a setting."""
    names = ("PYTHONPATH", "PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


@contextmanager
def running(folder: Path, *options: str, program: Sequence[str] = ALONE, **variables: str) -> Iterator[Server]:
    """Started in `folder` with the fake models; killed at the end when it still runs."""
    command = [sys.executable, *program, "--port", "0", *options]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**{**FAKE, **variables}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    server = Server(process)
    reader = threading.Thread(target=_read, args=(server,), daemon=True)
    reader.start()
    try:
        yield server
    finally:
        # with many processes those that outlive the first would keep its output open
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def _read(server: Server) -> None:
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.output.append(line)
