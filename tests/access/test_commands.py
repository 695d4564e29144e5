"""`lightrag-server keys` and `hash-password` as processes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.server import environment, running

START = [sys.executable, "-m", "lightrag_server"]


def run(folder: Path, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*START, *arguments],
        cwd=folder,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_key_made_while_the_server_runs_opens_it_and_revoking_closes_it(tmp_path: Path) -> None:
    made = run(
        tmp_path, "keys", "create", "--name", "ci job", "--workspace", "a b", "--workspace", "c", "--scope", "write"
    )
    assert made.returncode == 0, made.stderr
    [secret] = made.stdout.splitlines()
    assert secret.startswith("lrk_")
    identifier = made.stderr.split()[1]
    with running(tmp_path) as server, httpx.Client(trust_env=False, timeout=20) as client:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        headers = {"X-API-Key": secret}
        health = client.get(f"{address}/health", headers=headers).json()
        assert health["configuration"]["workspace"] == "a_b"
        listed = run(tmp_path, "keys", "list").stdout.splitlines()
        assert len(listed) == 2
        for text in (identifier, "ci job", "write", "a_b,c", "valid"):
            assert text in listed[1]
        assert secret not in listed[1]
        assert run(tmp_path, "keys", "revoke", identifier).returncode == 0
        time.sleep(1.05)
        assert client.get(f"{address}/auth/verify", headers=headers).status_code == 403
    assert "revoked" in run(tmp_path, "keys", "list").stdout


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    unknown = run(tmp_path, "keys", "revoke", "none")
    assert (unknown.returncode, unknown.stderr) == (1, "lightrag-server: no such key: 'none'\n")
    wrong = run(tmp_path, "keys", "create", "--name", "x", "--scope", "admin", "--workspace", "a")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "Traceback" not in wrong.stderr
    assert run(tmp_path, "keys").returncode == 2


def test_the_folder_is_that_of_the_settings_or_the_option(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "--name", "one", WORKING_DIR=str(tmp_path / "data"))
    assert "one" in run(tmp_path, "keys", "list", "--working-dir", str(tmp_path / "data")).stdout
    assert "one" not in run(tmp_path, "keys", "list").stdout


def test_a_password_is_asked_for_without_showing_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*START, "hash-password", "--algorithm", "bcrypt"],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = b""
        for prompt in (b"Password: ", b"Once more: "):
            while prompt not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, b"typed secret\n")
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert output.startswith("{bcrypt}$2b$")
    assert b"typed secret" not in shown


def test_an_empty_password_has_no_hash(tmp_path: Path) -> None:
    result = run(tmp_path, "hash-password", stdin="\n")
    assert (result.returncode, result.stdout) == (1, "")
