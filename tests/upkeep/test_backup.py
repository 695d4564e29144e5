"""A backup of a server that works is whole: what was accepted is there, and goes on by itself."""

from __future__ import annotations

import gzip
import io
import json
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lightrag_server.core.ids import document_id
from tests.server import FAKE, environment, running
from tests.upkeep.texts import text_of

SETTINGS = {"CHUNK_SIZE": "60", "CHUNK_OVERLAP_SIZE": "0", "TOKENIZER": "estimate"}
PATIENCE_S = 60.0


def command(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lightrag_server", *map(str, arguments)],
        cwd=folder,
        env=environment(**{**FAKE, **SETTINGS, **variables}),
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `rag_storage`, that a server worked on when `backup.tar.gz` was made, and a key that opens it in `key`."""
    folder = tmp_path_factory.mktemp("upkeep")
    key = command(folder, "keys", "create", "--name", "admin", "--scope", "admin").stdout.strip()
    (folder / "key").write_text(key)
    with running(folder, **SETTINGS) as server, opened(server.client(), folder) as client:
        for n in range(40):
            send(client, n)
        client.request("DELETE", "/documents/delete_document", json={"doc_ids": [document_id("0.txt", b"")]})
        made = command(folder, "backup", "backup.tar.gz")
        assert made.returncode == 0, made.stderr
        for n in range(40, 45):
            send(client, n)
        refused = command(folder, "restore", "backup.tar.gz", "--force")
        assert refused.returncode == 1
        assert "a server runs on" in refused.stderr
    return folder


def opened(client: httpx.Client, folder: Path) -> httpx.Client:
    client.headers["X-API-Key"] = (folder / "key").read_text()
    return client


def send(client: httpx.Client, number: int) -> None:
    body = {"text": text_of(number), "file_source": f"{number}.txt"}
    client.post("/documents/text", json=body).raise_for_status()


def test_a_restored_folder_is_sound_and_goes_on_by_itself(folder: Path) -> None:
    done = command(folder, "restore", "backup.tar.gz", "--into", "restored")
    assert done.returncode == 0, done.stderr
    for name in ("access.sqlite", "token.secret"):
        assert stat.S_IMODE((folder / "restored" / name).stat().st_mode) == 0o600
    looked = command(folder, "doctor", "--json", WORKING_DIR="restored")
    assert looked.returncode == 0, looked.stdout
    variables = {**SETTINGS, "WORKING_DIR": "restored"}
    with running(folder, **variables) as server, opened(server.client(), folder) as client:
        counts = {"processed": 0, "all": 1}
        deadline = time.monotonic() + PATIENCE_S
        while counts["processed"] != counts["all"] or counts["all"] != 39:
            assert time.monotonic() < deadline, counts
            time.sleep(0.2)
            counts = client.get("/documents/status_counts").json()["status_counts"]
        query = {"query": "Whom did Ada Harrow meet?", "mode": "naive", "only_need_context": True}
        assert "Ada Harrow" in client.post("/query", json=query).text
    looked = command(folder, "doctor", WORKING_DIR="restored")
    assert looked.returncode == 0, looked.stdout


def test_the_file_is_for_its_owner_alone(folder: Path) -> None:
    assert stat.S_IMODE((folder / "backup.tar.gz").stat().st_mode) == 0o600
    assert not list(folder.glob("*.part"))
    assert not list((folder / "rag_storage").glob("unfinished-*"))


def test_a_folder_with_data_is_replaced_by_force_only_and_kept(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("mine")
    refused = command(folder, "restore", "backup.tar.gz", "--into", "full")
    assert (refused.returncode, "is not empty" in refused.stderr) == (1, True)
    assert [path.name for path in (folder / "full").iterdir()] == ["notes.txt"]
    assert command(folder, "restore", "backup.tar.gz", "--into", "full", "--force").returncode == 0
    [former] = (folder / "full").glob("before-restore-*")
    assert (former / "notes.txt").read_text() == "mine"
    assert (folder / "full" / "default.sqlite").exists()


def members(file: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(file) as tar:
        for member in tar:
            content = tar.extractfile(member)
            yield member, content.read() if content else b""


def written(file: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for member, data in entries:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def changed(name: str, data: bytes, folder: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    entries = [(m, data if m.name == name else d) for m, d in members(folder / "backup.tar.gz")]
    return entries if any(m.name == name for m, _ in entries) else [(tarfile.TarInfo(name), data), *entries]


@pytest.mark.parametrize(
    "name", ["../out.sqlite", "/tmp/out.sqlite", "blobs/../../out", "blobs/..", "run.sh", "w-../x.sqlite"]
)
def test_a_way_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    refuses(written(tmp_path / "bad.tar.gz", changed(name, b"out", folder)), tmp_path, "which no backup does")


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    link = tarfile.TarInfo("blobs/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    refuses(
        written(tmp_path / "bad.tar.gz", [(link, b""), *members(folder / "backup.tar.gz")]), tmp_path, "no plain file"
    )


def test_what_is_torn_is_refused_and_the_old_folder_stays(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "backup.tar.gz").read_bytes()
    for file, data in {"half": whole[: len(whole) // 2], "text": b"no backup", "empty": gzip.compress(b"")}.items():
        (tmp_path / file).write_bytes(data)
        refuses(tmp_path / file, tmp_path, "no backup")
    refuses(written(tmp_path / "sum", changed("token.secret", b"x" * 64, folder)), tmp_path, "not what was backed up")
    manifest = next(data for member, data in members(folder / "backup.tar.gz") if member.name == "manifest.json")
    newer = json.dumps(json.loads(manifest) | {"format": 99}).encode()
    refuses(written(tmp_path / "newer", changed("manifest.json", newer, folder)), tmp_path, "upgrade")


def refuses(file: Path, tmp_path: Path, why: str) -> None:
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    (target / "mine").write_text("mine")
    done = command(tmp_path, "restore", file, "--into", target, "--force")
    assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert not (tmp_path / "out.sqlite").exists()


def test_one_workspace_comes_without_the_others_and_without_keys(folder: Path) -> None:
    with running(folder, **SETTINGS) as server, opened(server.client(), folder) as client:
        client.headers["LIGHTRAG-WORKSPACE"] = "other"
        send(client, 7)
    assert command(folder, "backup", "one.tar.gz", "--workspace", "other").returncode == 0
    names = {member.name for member, _ in members(folder / "one.tar.gz")}
    assert {"w-other.sqlite", "coordination.sqlite", "manifest.json"} <= names
    assert not {"default.sqlite", "access.sqlite", "token.secret"} & names
    assert command(folder, "restore", "one.tar.gz", "--into", "one").returncode == 0
    report = json.loads(command(folder, "doctor", "--json", WORKING_DIR="one").stdout)
    assert report["is_sound"]
    assert {w["workspace"]: w["counts"].get("documents", 0) for w in report["workspaces"]} == {"": 0, "other": 1}
    assert command(folder, "backup", "none.tar.gz", "--workspace", "nobody").returncode == 2
