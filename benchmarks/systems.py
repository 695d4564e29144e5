"""What is measured: this server, and LightRAG beside it from a virtual environment of its own. Over HTTP only.

Both get the same variables (LightRAG's names) and the same vendor. LightRAG counts tokens with tiktoken, which would
download its ranks: they are taken from the wheel `bpe-openai` of our own environment.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import httpx

from tests import server
from tests.vendor import Vendor

DIMENSION = 1024
START_S = 180.0
STOP_S = 30.0
REQUEST_S = 300.0
RANKS_URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
"""tiktoken names the files of its cache by the hash of where they come from."""
ONE_SSL_CONTEXT = """\
import functools, ssl
ssl.create_default_context = functools.lru_cache(ssl.create_default_context)
"""
"""As shipped, LightRAG reads all certificates anew for every call to a model, also over http. It could mend that in a
line; with it, it is the fairer opponent."""


@dataclass(frozen=True, slots=True)
class Running:
    """`start_s` is the time from the start of the process to its first answer on /health."""

    pid: int
    address: str
    start_s: float

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=REQUEST_S, trust_env=False)


class System(Protocol):
    @property
    def name(self) -> str: ...

    def running(self, folder: Path, vendor: Vendor, **variables: str) -> AbstractContextManager[Running]: ...


def variables_for(vendor: Vendor) -> dict[str, str]:
    """Understood by both."""
    return {
        "LLM_BINDING": "openai",
        "LLM_BINDING_HOST": vendor.openai_url,
        "LLM_BINDING_API_KEY": "none",
        "LLM_MODEL": "fake",
        "EMBEDDING_BINDING": "openai",
        "EMBEDDING_BINDING_HOST": vendor.openai_url,
        "EMBEDDING_BINDING_API_KEY": "none",
        "EMBEDDING_MODEL": "fake",
        "EMBEDDING_DIM": str(DIMENSION),
        "MAX_ASYNC": "16",
        "MAX_ASYNC_LLM": "16",
        "MAX_PARALLEL_INSERT": "4",
    }


@dataclass(frozen=True, slots=True)
class Ours:
    """`program` is `server.MANY` for lightrag-gunicorn, where some processes answer and others work on documents."""

    name: str = "ours"
    program: tuple[str, ...] = server.ALONE

    @contextmanager
    def running(self, folder: Path, vendor: Vendor, **variables: str) -> Iterator[Running]:
        start = time.perf_counter()
        port = free_port()
        options = ("--port", str(port))
        with server.running(
            folder, *options, program=self.program, **{**variables_for(vendor), **variables}
        ) as process:
            wait_for_health(port, process.process)
            yield Running(process.process.pid, address_of(port), time.perf_counter() - start)
            assert process.stop() == 0, process.text


@dataclass(frozen=True, slots=True)
class LightRAG:
    """`venv` has `lightrag-hku[api]`. With `modules` these files lie on its path, by name."""

    venv: Path
    name: str = "LightRAG"
    modules: Mapping[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def running(self, folder: Path, vendor: Vendor, **variables: str) -> Iterator[Running]:
        with TemporaryDirectory() as aside:
            for module, text in self.modules.items():
                (Path(aside) / module).write_text(text)
            put_ranks(Path(aside) / "tiktoken")
            port = free_port()
            given = {"TIKTOKEN_CACHE_DIR": f"{aside}/tiktoken", "PYTHONPATH": aside, "HOST": "127.0.0.1"}
            process = self._started(folder, port, variables_for(vendor) | given | variables)
            start = time.perf_counter()
            try:
                wait_for_health(port, process)
                yield Running(process.pid, address_of(port), time.perf_counter() - start)
            finally:
                stop(process)

    def _started(self, folder: Path, port: int, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        (folder / ".env").touch()
        with (folder / "console.log").open("ab") as log:
            return subprocess.Popen(
                [self.venv / "bin" / "lightrag-server", "--port", str(port)],
                cwd=folder,
                env=server.environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def with_one_ssl_context(peer: LightRAG) -> LightRAG:
    return LightRAG(peer.venv, "LightRAG, one SSL context", {"sitecustomize.py": ONE_SSL_CONTEXT})


def address_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_health(port: int, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(base_url=address_of(port), trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode} before it answered")
            try:
                if client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.01)
    raise TimeoutError(f"no answer within {START_S:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """The process and what it started: they are a group of their own."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def put_ranks(folder: Path) -> None:
    spec = importlib.util.find_spec("bpe_openai")
    if spec is None or spec.origin is None:
        raise RuntimeError("LightRAG needs the token ranks of the extra `tiktoken`")
    folder.mkdir(exist_ok=True)
    packed = Path(spec.origin).parent / "data" / "o200k_base.tiktoken.gz"
    name = hashlib.sha1(RANKS_URL.encode(), usedforsecurity=False).hexdigest()
    (folder / name).write_bytes(gzip.decompress(packed.read_bytes()))
