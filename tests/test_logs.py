"""Log lines as a collector of logs reads them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.api.conftest import STORY
from tests.server import Server, environment, running
from tests.vendor import in_thread

WAIT_S = 20.0
WRITER = """
import logging, sys
from pathlib import Path
from lightrag_server import logs
from lightrag_server.log_file import LogFile

logs.configure("INFO", line_format="json", file=LogFile(Path(sys.argv[1]), 20_000, 500))
for n in range(1000):
    logging.getLogger("writer").info("%s-%d %s", sys.argv[2], n, "x" * 50)
"""


def objects(server: Server, beginning: str = "{") -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.output if line.startswith(beginning)]


def found(server: Server, **wanted: str) -> dict[str, Any]:
    """The first line with these values; waits for it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for row in objects(server):
            if all(str(row.get(name, "")).startswith(value) for name, value in wanted.items()):
                return row
        time.sleep(0.02)
    raise AssertionError(f"no line with {wanted}: {server.text}")


def test_lines_are_objects_that_say_what_they_belong_to(tmp_path: Path) -> None:
    with in_thread() as vendor:
        vendor.fault("status", on="embed", status=401, next=100)
        embedder = {"EMBEDDING_BINDING": "openai", "EMBEDDING_BINDING_HOST": vendor.openai_url}
        keys = {"EMBEDDING_BINDING_API_KEY": "k", "LOG_FORMAT": "json", "LOG_DIR": "logs", "LOG_LEVEL": "DEBUG"}
        with running(tmp_path, **embedder, **keys) as server, server.client() as client:
            headers = {"X-Request-ID": "request-0001", "LIGHTRAG-WORKSPACE": "books"}
            body = {"text": STORY, "file_source": "carol.txt"}
            assert client.post("/documents/text", json=body, headers=headers).status_code == 200
            request = found(server, message="request method=POST", request="request-0001")
            assert set(request) == {"ts", "level", "logger", "message", "request", "workspace"}
            assert (request["level"], request["workspace"]) == ("INFO", "books")
            failed = found(server, message="document failed")
            assert failed["kind"] == "prepare"
            assert failed["document"].startswith("doc-")
            assert failed["workspace"] == "books"
            assert failed["job"].isdigit()
            kept = (tmp_path / "logs" / "lightrag.log").read_text().splitlines()
            assert failed in [json.loads(line) for line in kept]
            server.stop()
        others = [line for line in server.output if not line.startswith("{")]
        assert not [line for line in others if " INFO " in line or " WARNING " in line], "every line has this form"


def test_no_line_is_lost_when_several_processes_put_the_file_aside(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [
        subprocess.Popen([*command, name], env=environment(), stderr=subprocess.PIPE) for name in ("a", "b", "c")
    ]
    for writer in writers:
        assert writer.communicate(timeout=60)[1].count(b"\n") == 1000
        assert writer.returncode == 0
    files = list(tmp_path.glob("lightrag.log*"))
    lines = [json.loads(line)["message"].split()[0] for path in files for line in path.read_text().splitlines()]
    assert len(files) > 10
    assert sorted(lines) == sorted(f"{name}-{n}" for name in ("a", "b", "c") for n in range(1000))


def test_old_files_are_kept_as_far_as_told(tmp_path: Path) -> None:
    program = WRITER.replace("500))", "2))")
    subprocess.run([sys.executable, "-c", program, str(tmp_path), "a"], env=environment(), check=True, timeout=60)
    names = {path.name for path in tmp_path.glob("lightrag.log*")}
    assert names >= {"lightrag.log.1", "lightrag.log.2"}
    assert "lightrag.log.3" not in names
