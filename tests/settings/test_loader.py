from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightrag_server.errors import ConfigError
from lightrag_server.settings import Settings
from lightrag_server.settings.declarations import declarations
from lightrag_server.settings.loader import load, load_with_origins


def loaded(folder: Path, *argv: str, **environ: str) -> Settings:
    return load(argv, environ=environ, start_dir=folder)


def sentence(folder: Path, *argv: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, *argv, **environ)
    return str(caught.value)


def test_without_any_source_every_setting_has_its_default(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.server.port == 9621
    assert settings.query.top_k == 50
    assert settings.server.host is None


def test_command_line_wins_over_environment_over_env_file_over_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nTOP_K=11\nCHUNK_TOP_K=12\n")
    settings = loaded(tmp_path, "--port", "3", PORT="2", TOP_K="22")
    assert (settings.server.port, settings.query.top_k, settings.query.chunk_top_k) == (3, 22, 12)


def test_config_ini_serves_storages_and_yields_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("[sqlite]\nsynchronous = normal\nbusy_timeout = 5\n[server]\nport = 1\n")
    settings = loaded(tmp_path, SQLITE_BUSY_TIMEOUT="7")
    assert settings.sqlite.synchronous == "NORMAL"
    assert settings.sqlite.busy_timeout_s == 7
    assert settings.server.port == 9621


def test_origins_name_the_source_of_what_was_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOP_K=11\n")
    (tmp_path / "config.ini").write_text("[sqlite]\nbusy_timeout = 5\n")
    loaded = load_with_origins(["--port", "3"], environ={"MAX_ASYNC": "8"}, start_dir=tmp_path)
    assert loaded.origins == {
        "PORT": "command line",
        "MAX_ASYNC_LLM": "environment",
        "TOP_K": ".env",
        "SQLITE_BUSY_TIMEOUT": "config.ini",
    }


def test_old_names_are_accepted_and_the_present_name_wins(tmp_path: Path) -> None:
    assert loaded(tmp_path, TIMEOUT="200").llm.timeout_s == 200
    assert loaded(tmp_path, TIMEOUT="200", LLM_TIMEOUT="20").llm.timeout_s == 20
    assert loaded(tmp_path, MAX_ASYNC="9").llm.max_async == 9


@pytest.mark.parametrize("word", ["true", "1", "YES", "t", " on "])
def test_words_for_yes(tmp_path: Path, word: str) -> None:
    assert loaded(tmp_path, VERBOSE=word).server.verbose is True


@pytest.mark.parametrize("word", ["false", "0", "No", "f", "off"])
def test_words_for_no(tmp_path: Path, word: str) -> None:
    assert loaded(tmp_path, ENABLE_LLM_CACHE=word).query.enable_llm_cache is False


def test_a_boolean_option_needs_no_word_and_takes_one(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--verbose").server.verbose is True
    assert loaded(tmp_path, "--verbose", "False", VERBOSE="true").server.verbose is False


def test_empty_text_counts_as_unset(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=11\nHOST=\n")
    settings = loaded(tmp_path, PORT="", HOST=" ", LIGHTRAG_API_KEY="")
    assert settings.server.port == 11
    assert settings.server.host is None
    assert settings.server.key is None


def test_the_word_none_lifts_a_timeout_and_unsets_an_optional(tmp_path: Path) -> None:
    settings = loaded(tmp_path, TIMEOUT="None", EMBEDDING_DIM="none")
    assert settings.llm.timeout_s > 86_400
    assert math.isfinite(settings.llm.timeout_s)
    assert settings.embedding.dimension is None


def test_closed_words_are_read_in_any_case(tmp_path: Path) -> None:
    assert loaded(tmp_path, LOG_LEVEL="debug").server.log_level == "DEBUG"
    assert loaded(tmp_path, INDEX_PROFILE="Light").ingest.profile == "light"


def test_paths_are_taken_from_the_start_folder(tmp_path: Path) -> None:
    settings = loaded(tmp_path, WORKING_DIR="data")
    assert settings.server.working_dir == tmp_path / "data"
    assert settings.server.input_dir == tmp_path / "inputs"


def test_entity_types_are_accepted_under_the_old_name_and_as_a_json_list(tmp_path: Path) -> None:
    assert loaded(tmp_path, ENTITY_TYPES='["Person", "Ship"]').ingest.entity_types == "Person,Ship"
    assert loaded(tmp_path, ENTITY_TYPES_HINT="Person,Ship").ingest.entity_types == "Person,Ship"


def test_a_small_chunk_needs_no_word_about_the_overlap(tmp_path: Path) -> None:
    settings = loaded(tmp_path, CHUNK_SIZE="60", WINDOW_SIZE="40")
    assert settings.ingest.chunk_overlap == 15
    assert settings.ingest.window_overlap == 10


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "abc", "a whole number from 0 to 65535"),
        ("PORT", "70000", "a whole number from 0 to 65535"),
        ("LLM_BINDING", "gpt", "one of ollama, openai, local"),
        ("TEMPERATURE", "3", "a number from 0 to 2"),
        ("LLM_TIMEOUT", "0", "a number greater than 0"),
        ("LLM_TIMEOUT", "nan", "a number greater than 0"),
        ("LLM_TIMEOUT", "inf", "a number greater than 0"),
        ("VERBOSE", "maybe", "true or false"),
        ("SQLITE_SYNCHRONOUS", "OFF", "one of FULL, NORMAL"),
        ("TIMEOUT", "soon", "a number greater than 0"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_variable_value_and_what_is_allowed(
    tmp_path: Path, name: str, value: str, allowed: str
) -> None:
    text = sentence(tmp_path, **{name: value})
    assert text.startswith(f"{name} (environment) is {value!r}; it must be {allowed}")
    assert "\n" not in text


def test_a_wrong_option_is_named_as_it_was_typed(tmp_path: Path) -> None:
    assert sentence(tmp_path, "--top-k", "0").startswith("--top-k (command line) is '0'; it must be")


def test_a_wrong_key_of_config_ini_is_named_with_its_section(tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("[sqlite]\nbusy_timeout = -1\n")
    assert sentence(tmp_path).startswith("busy_timeout in section [sqlite] (config.ini) is '-1'")


def test_an_unreadable_config_ini_or_env_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("no section\n")
    text = sentence(tmp_path)
    assert "config.ini cannot be read" in text
    assert "\n" not in text
    (tmp_path / "config.ini").unlink()
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    assert ".env cannot be read" in sentence(tmp_path)


def test_overlaps_must_be_smaller_than_sizes(tmp_path: Path) -> None:
    text = sentence(tmp_path, CHUNK_SIZE="100", CHUNK_OVERLAP_SIZE="100")
    assert text == "CHUNK_OVERLAP_SIZE is 100; it must be less than CHUNK_SIZE, which is 100."
    assert "WINDOW_OVERLAP_SIZE" in sentence(tmp_path, WINDOW_SIZE="400", WINDOW_OVERLAP_SIZE="400")


def test_https_needs_files_that_exist(tmp_path: Path) -> None:
    assert "SSL_CERTFILE must name" in sentence(tmp_path, "--ssl")
    (tmp_path / "cert.pem").write_text("x")
    text = sentence(tmp_path, "--ssl", "--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem")
    assert text.startswith("SSL_KEYFILE is")
    assert "exists" in text


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    settings = loaded(tmp_path, LIGHTRAG_API_KEY="s3cret", LLM_BINDING_API_KEY="s3cret")
    assert "s3cret" not in repr(settings)


def test_unknown_options_leave_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(tmp_path, "--no-such-option")
    assert caught.value.code == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_variables_without_effect_are_named_once_when_they_are_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MINERU_API_MODE=local\nLOG_DIR=\n")
    loaded = load_with_origins([], environ={"KG_CHUNK_PICK_METHOD": "WEIGHT", "PATH": "/bin"}, start_dir=tmp_path)
    assert [w.split()[0] for w in loaded.warnings] == ["KG_CHUNK_PICK_METHOD", "MINERU_API_MODE"]


def test_every_option_of_the_seeds_is_known() -> None:
    seeds = (
        "--host --port --working-dir --input-dir --max-async --max-tokens --timeout --log-level --verbose --key --ssl "
        "--ssl-certfile --ssl-keyfile --top-k --cosine-threshold --llm-binding --embedding-binding "
        "--auto-scan-at-startup --workspace --chunk-size"
    )
    assert set(seeds.split()) <= {d.flag for d in declarations()}


def test_names_and_options_are_declared_once() -> None:
    names = [name for d in declarations() for name in {d.env, *d.old_names} if name != "OPENAI_API_KEY"]
    flags = [d.flag for d in declarations() if d.flag]
    assert len(set(names)) == len(names)
    assert len(set(flags)) == len(flags)
