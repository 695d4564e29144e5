"""The documents keep what they promise.

Examples: every block of the README marked `bash` runs in order, each in a shell of its own, in the folder of a server
with the fake models. Substituted is the address alone: `localhost:9621` becomes that of the test's server; `book.txt`
is the excerpt in tests/data. A block fails when a command of it fails, and curl fails on an HTTP error. Blocks
marked `sh` install or start something and are not run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest
from fastapi.routing import APIRoute

from lightrag_server.api import docs
from lightrag_server.api.app import ROUTERS
from lightrag_server.settings.declarations import declarations
from tests.server import environment, running

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "tests" / "data" / "carol-excerpts.txt"
ADDRESS = "localhost:9621"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
CURL = 'curl() { command curl --noproxy "*" --fail-with-body "$@"; }\n'

EXPECTED = {
    "/documents/upload": '"status":"processed"',
    '"file_source": "lovelace': '"status":"success"',
    "/documents/texts": "2 texts were accepted",
    "/documents/scan": "scanning_started",
    "/documents/pipeline_status": '"latest_message"',
    "/documents/status_counts": '"all":',
    '"mode": "mix"': '[1]","references":[{"reference_id":"1","file_path":"book.txt"',
    "/query/stream": '{"references"',
    "/query/data": '"relationships":[{',
    "/documents/delete_document": "deletion_started",
    "-X DELETE localhost:9621/documents ": "All documents were removed",
    "/health": '"status":"healthy"',
    "/documents/events": "event: done",
    "filters": "Charles Babbage designed the Difference Engine in London. [1]",
    "-X PUT": '"file_path":"babbage.txt"',
    "/graph/import": '"entities":',
    "/api/chat": '"done": true',
    "/v1/chat/completions": '"references":[{"reference_id":"1"',
    "/mcp ": "book.txt",
    "/workspaces ": '"name":"physics"',
}
"""What the output of a block that calls a route must hold."""


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples() -> list[str]:
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def expected_of(example: str) -> list[str]:
    found = [text for call, text in EXPECTED.items() if call in f"{example} ".replace("\n", " ")]
    assert found, f"tests/test_docs.py does not say what this example prints: {example}"
    return found


def test_every_example_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    shutil.copy(BOOK, tmp_path / "book.txt")
    with running(tmp_path) as server:
        host = server.address.removeprefix("http://")
        for example in examples():
            script = CURL + example.replace(ADDRESS, host)
            result = subprocess.run(
                ["bash", "-e", "-c", script],
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert result.returncode == 0, f"{example}\n{result.stdout}\n{result.stderr}"
            for text in expected_of(example):
                assert text in result.stdout, f"{example}\n{result.stdout}"


def test_what_an_example_must_print_names_a_route_of_the_readme() -> None:
    text = "\n".join(f"{example} ".replace("\n", " ") for example in examples())
    assert [call for call in EXPECTED if call not in text] == []


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [d.env for d in declarations() if f"`{d.env}`" not in page] == []


def test_every_route_is_documented() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    served = [cast(APIRoute, route) for router in (*ROUTERS, docs.router) for route in router.routes]
    routes = [f"{method} {route.path_format}" for route in served for method in sorted(route.methods or ())]
    assert len(routes) > 20
    assert [route for route in routes if f"`{route}`" not in page] == []
    documented = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) [^`]*)`", page)
    assert sorted(set(documented) - set(routes)) == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_of_the_documents_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [match.group(1) for match in LINK.finditer(text)]
    assert [target for target in targets if not (document.parent / target).exists()] == []
