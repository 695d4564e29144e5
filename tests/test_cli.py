"""The command line as a process, the way people meet it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from lightrag_server import __version__
from lightrag_server.settings.declarations import declarations, groups
from tests.server import FAKE, Server, environment, running

HEALTH_S = 2.0


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lightrag_server", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=30, check=False
    )


def only_sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("lightrag-server: ")
    return line.removeprefix("lightrag-server: ")


def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"lightrag-server {__version__}\n"


def test_help_shows_every_option_in_its_group_with_variable_and_default(tmp_path: Path) -> None:
    text = " ".join(run(tmp_path, "--help", COLUMNS="200").stdout.split())
    for group in groups().values():
        assert f"{group.heading}: " in text
    for declaration in declarations():
        assert declaration.env in text
        if declaration.flag:
            assert declaration.flag in text
    assert "[PORT; default 9621]" in text


def test_a_wrong_value_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    result = run(tmp_path, PORT="http")
    assert result.returncode == 2
    assert only_sentence(result) == "PORT (environment) is 'http'; it must be a whole number from 0 to 65535."


def test_a_wrong_value_in_the_env_file_of_the_start_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOP_K=0\n")
    result = run(tmp_path, "serve")
    assert result.returncode == 2
    assert "TOP_K (.env) is '0'" in only_sentence(result)


def test_a_wrong_option_is_a_usage_error_with_code_2(tmp_path: Path) -> None:
    result = run(tmp_path, "--prot", "1")
    assert result.returncode == 2
    assert "--prot" in result.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LIGHTRAG_KV_STORAGE": "NoSuchStorage"}, "LIGHTRAG_KV_STORAGE"),
        ({"INDEX_PROFILE": "full", "LLM_BINDING": "local"}, "INDEX_PROFILE"),
        ({"HOST": "no-such-host.invalid"}, "HOST"),
        ({"WORKING_DIR": "/dev/null/data"}, "/dev/null/data"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_code_2(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    result = run(tmp_path, "--port", "0", **{**FAKE, **variables})
    assert result.returncode == 2, result.stderr
    assert named in only_sentence(result)


def test_a_port_in_use_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(tmp_path, "--port", str(port), **FAKE)
    assert result.returncode == 2
    assert only_sentence(result).startswith(f"Port {port} of 127.0.0.1 is in use")


def test_files_that_are_no_certificate_are_one_sentence_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    options = ("--ssl", "--ssl-certfile", "cert.pem", "--ssl-keyfile", "cert.pem", "--port", "0")
    result = run(tmp_path, *options, **FAKE)
    assert result.returncode == 2
    assert "SSL_CERTFILE" in only_sentence(result)


def test_settings_writes_the_example_files(tmp_path: Path) -> None:
    result = run(tmp_path, "settings", "--write", "out")
    assert result.returncode == 0
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*") if p.is_file()) == [
        "config.ini.example",
        "env.example",
        "settings.md",
    ]


def test_health_answers_soon_after_the_process_starts(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(tmp_path) as server, server.client() as client:
        assert client.get("/health").json()["status"] == "healthy"
        assert time.monotonic() - began < 2 * HEALTH_S  # twice: other tests share the machine


def test_the_banner_says_what_was_chosen_and_how_to_change_it(tmp_path: Path) -> None:
    with running(tmp_path, "--working-dir", "data", WORKSPACE="books") as server:
        assert server.address.startswith("http://127.0.0.1:")
        wait_for(server, "All settings:")
    text = server.text
    assert str(tmp_path / "data") in text
    assert "WORKING_DIR from command line" in text
    assert "books (0 documents)" in text
    assert "fake/names" in text
    assert "LLM_BINDING from environment" in text
    assert "profile      full" in text
    assert "change: INDEX_PROFILE" in text
    assert "SQLiteKVStorage" in text
    assert "only this machine can connect" in text


def wait_for(server: Server, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in server.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert text in server.text


def test_without_a_key_the_server_listens_on_this_machine_only_and_with_one_everywhere(tmp_path: Path) -> None:
    with running(tmp_path, LIGHTRAG_API_KEY="s3cret") as server:
        assert server.address.startswith("http://0.0.0.0:")
        port = server.address.rsplit(":", 1)[1]
        reply = httpx.post(f"http://127.0.0.1:{port}/query", json={"query": "anything"}, trust_env=False)
        assert reply.status_code == 403
    assert "s3cret" not in server.text
    with running(tmp_path, "--host", "0.0.0.0") as server:
        assert server.address.startswith("http://0.0.0.0:")
        wait_for(server, "anybody who reaches 0.0.0.0")


def test_a_variable_without_effect_is_said_once(tmp_path: Path) -> None:
    with running(tmp_path, KG_CHUNK_PICK_METHOD="WEIGHT") as server:
        assert server.address
    assert server.text.count("KG_CHUNK_PICK_METHOD is set but has no effect") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(tmp_path: Path, number: int) -> None:
    with running(tmp_path) as server:
        assert server.address
        assert server.stop(number) == 0
    assert "server stopped" in server.text
    assert "Traceback" not in server.text


def test_https_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-days", "1", "-nodes", "-newkey", "rsa:2048"]
    command = ["openssl", "req", "-x509", *subject, "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with running(tmp_path, "--ssl", "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem") as server:
        assert server.address.startswith("https://")
        with server.client() as client:
            assert client.get("/health").status_code == 200
