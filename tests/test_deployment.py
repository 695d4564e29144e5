"""The files for Docker, Compose and systemd name what exists here, agree with one another, and hold no secret."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightrag_server.settings.declarations import declarations
from tests.server import running

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
UNIT = ROOT / "lightrag.service.example"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEALTHCHECK = ROOT / "docker" / "healthcheck.py"

SETTINGS = {name: d for d in declarations() for name in d.names}
OF_PYTHON = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
OF_COMPOSE = {"EXTRAS", "LIGHTRAG_TAG", "LIGHTRAG_PUBLISH", "LIGHTRAG_CPUS", "LIGHTRAG_MEMORY"}
OF_COMPOSE |= {"OLLAMA_TAG", "OLLAMA_MEMORY"}
MOST_EXPOSED = 2.5
"""What `systemd-analyze security` still calls OK, of 10."""


def image_variables() -> dict[str, str]:
    found = re.search(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    assert found
    return dict(pair.split("=", 1) for pair in found.group(1).replace("\\\n", " ").split())


def unit_values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def unit_variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in unit_values("Environment") for pair in shlex.split(line))


def server() -> dict[str, Any]:
    return COMPOSE["services"]["lightrag"]


def test_every_variable_that_the_files_set_is_a_setting() -> None:
    named = image_variables().keys() | unit_variables().keys() | server()["environment"].keys()
    assert sorted(named - SETTINGS.keys() - OF_PYTHON) == []


def test_every_variable_that_the_compose_file_reads_is_a_setting_or_documented() -> None:
    read = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert sorted(read - SETTINGS.keys()) == sorted(OF_COMPOSE)
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [name for name in sorted(OF_COMPOSE) if f"`{name}`" not in page] == []


def test_programs_that_are_started_are_scripts_of_the_package() -> None:
    scripts = PROJECT["project"]["scripts"].keys()
    [image] = re.findall(r'^CMD \["(.*)"\]$', DOCKERFILE, re.MULTILINE)
    [unit] = unit_values("ExecStart")
    assert {image, Path(shlex.split(unit)[0]).name, *server()["command"]} <= scripts


def test_the_image_holds_what_is_declared() -> None:
    [version] = re.findall(r"^ARG PYTHON_VERSION=(.*)$", DOCKERFILE, re.MULTILINE)
    assert PROJECT["project"]["requires-python"] == f">={version}"
    extras = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    built = server()["build"]["args"]["EXTRAS"]
    assert built == f"${{EXTRAS:-{extras[0]}}}"
    assert set(extras[0].split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = ["pyproject.toml", PROJECT["project"]["readme"], *packages, str(HEALTHCHECK.relative_to(ROOT))]
    assert [path for path in wanted if f"!{path}" not in allowed] == []
    assert "*" in allowed


def test_ports_and_volumes_agree() -> None:
    variables = image_variables()
    environment = server()["environment"]
    mounted = {line.split(":")[1]: line.split(":")[0] for line in server()["volumes"]}
    for name in ("WORKING_DIR", "INPUT_DIR"):
        assert environment[name] == variables[name]
        assert f'"{variables[name]}"' in next(line for line in DOCKERFILE.splitlines() if line.startswith("VOLUME"))
        assert mounted[variables[name]] in COMPOSE["volumes"]
    assert f"EXPOSE {variables['PORT']}" in DOCKERFILE
    assert environment["PORT"] == variables["PORT"] == str(SETTINGS["PORT"].default)
    [published] = server()["ports"]
    assert published.endswith(f":{variables['PORT']}")
    assert "127.0.0.1" in published
    [state] = unit_values("StateDirectory")
    assert unit_variables()["WORKING_DIR"].startswith(f"/var/lib/{state}/")


def test_nothing_listens_everywhere_without_a_key() -> None:
    assert "HOST" not in image_variables()
    assert "HOST" not in unit_variables()
    assert server()["environment"]["HOST"] == "0.0.0.0"
    assert server()["environment"]["LIGHTRAG_API_KEY"].startswith("${LIGHTRAG_API_KEY:?")


def test_no_file_holds_a_secret() -> None:
    secrets = {name for name, d in SETTINGS.items() if d.is_secret}
    assert "LIGHTRAG_API_KEY" in secrets
    given = image_variables() | unit_variables() | server()["environment"]
    assert [name for name in secrets & given.keys() if not given[name].startswith(f"${{{name}:?")] == []
    for path in ("Dockerfile", "docker-compose.yml", UNIT.name):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert [n for n in secrets if re.search(rf"\b{n}[=:]\s*(?!\$\{{{n}:\?)\w", text)] == [], path


def test_the_container_writes_nowhere_but_to_its_volumes_and_is_nobody() -> None:
    assert server()["read_only"] is True
    assert server()["cap_drop"] == ["ALL"]
    # the reader of pdf loads a library that it unpacks there
    assert all("noexec" not in line for line in server()["tmpfs"])
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0


def test_the_health_check_tells_a_server_that_answers_from_one_that_does_not(tmp_path: Path) -> None:
    def checked(port: str) -> subprocess.CompletedProcess[str]:
        environment = {"PORT": port, "http_proxy": "http://127.0.0.1:1", "PATH": os.environ["PATH"]}
        command = [sys.executable, "-I", "-S", str(HEALTHCHECK)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with running(tmp_path, LIGHTRAG_API_KEY="0d8f1c7ab35e4496") as started:
        port = started.address.rpartition(":")[2]
        alive = checked(port)
        assert alive.returncode == 0, alive.stdout + alive.stderr
        started.stop()
    gone = checked(port)
    assert gone.returncode == 1
    assert "no answer" in gone.stdout
    assert gone.stderr == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "lightrag.service"
    [program] = [shlex.split(line)[0] for line in unit_values("ExecStart")]
    text = UNIT.read_text(encoding="utf-8").replace(program, shutil.which("true") or "/bin/true")
    unit.write_text(text, encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level .*: ([\d.]+)", told)
    assert found, told
    assert float(found.group(1)) <= MOST_EXPOSED, told
