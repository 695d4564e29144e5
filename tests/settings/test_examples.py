from __future__ import annotations

import configparser
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from lightrag_server.settings import examples
from lightrag_server.settings.declarations import declarations
from lightrag_server.settings.loader import load
from lightrag_server.settings.unsupported import UNSUPPORTED, warnings_for

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", list(examples.files()))
def test_the_files_of_the_repository_are_those_of_the_declarations(name: str) -> None:
    """Write them with: lightrag-server settings --write ."""
    assert (ROOT / name).read_text(encoding="utf-8") == examples.files()[name]


def test_the_example_with_every_default_uncommented_loads_to_the_defaults(tmp_path: Path) -> None:
    lines = examples.env_example().splitlines()
    names = {d.env for d in declarations()}
    active = [line[2:] for line in lines if line.startswith("# ") and line[2:].split("=")[0] in names]
    assert len(active) == len(names)
    defaults = load([], environ={}, start_dir=tmp_path)
    (tmp_path / ".env").write_text("\n".join(active))
    assert load([], environ={}, start_dir=tmp_path) == defaults


def test_the_ini_example_uncommented_is_read(tmp_path: Path) -> None:
    lines = [line.removeprefix("; ") if " = " in line else line for line in examples.ini_example().splitlines()]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_file(StringIO("\n".join(lines)))
    declared = {d.ini for d in declarations() if d.ini}
    assert {(section, key) for section in parser.sections() for key in parser[section]} == declared


def test_the_example_sets_nothing_as_it_stands() -> None:
    assert dotenv_values(stream=StringIO(examples.env_example())) == {}


def test_the_reference_page_names_every_variable_and_option() -> None:
    page = examples.reference_page()
    for declaration in declarations():
        for name in (*declaration.names, *([declaration.flag] if declaration.flag else [])):
            assert f"`{name}`" in page
    for name in UNSUPPORTED:
        assert f"`{name}`" in page


def test_no_supported_variable_is_called_without_effect() -> None:
    names = [name for declaration in declarations() for name in declaration.names]
    assert list(warnings_for(names)) == []
