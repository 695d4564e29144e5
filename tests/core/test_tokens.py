from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core.tokens import EstimatingTokenizer, O200kTokenizer, Tokenizer, load_tokenizer
from lightrag_server.errors import ConfigError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import bpe_openai

EXACT = load_tokenizer("o200k_base")
ESTIMATE = EstimatingTokenizer()

ENGLISH = """
The lighthouse keeper wrote three lines in his journal every evening: the height of the tide, the name of any ship
that had passed, and whatever the wind had carried to his door. In forty-two years he missed only one entry. Nobody
noticed until his granddaughter, an archivist at the maritime museum in Bergen, digitised the volumes and found that
the missing day was the 14th of February 1953. "Why that one?" she asked. He didn't answer immediately; he looked at
the barometer, tapped it twice, and said that some evenings are too large for three lines.
"""
CHINESE = """
北京市位于华北平原的北部边缘，是中华人民共和国的首都。城里的胡同曲折而安静，老人们在槐树下下棋，孩子们骑着自行车穿过灰色的砖墙。
图书馆每天早晨九点开门，研究人员在阅览室里查阅明代的地方志，并把其中关于水利工程的记载整理成数据库。去年秋天，他们发现了一份从未发表过的手稿，
作者是一位名叫沈济川的工匠，他用简单的图画说明了如何在没有铁器的情况下修理水闸。专家认为，这份材料改变了我们对当时技术水平的看法。
"""
CODE = """
def settle(accounts: dict[str, int], transfers: list[Transfer]) -> dict[str, int]:
    for transfer in transfers:
        if accounts[transfer.source] < transfer.amount:
            raise InsufficientFunds(transfer.source)
        accounts[transfer.source] -= transfer.amount
        accounts[transfer.target] += transfer.amount
    return accounts
"""


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("The quick brown fox jumps over the lazy dog.", 10), ("  two\n\n\nlines\n", 5)],
)
def test_o200k_counts_as_openai_does(text: str, tokens: int) -> None:
    assert EXACT.count(text) == tokens


def test_special_tokens_in_a_text_are_plain_text() -> None:
    assert EXACT.count("<|endoftext|>") > 1


@pytest.mark.parametrize("tokenizer", [EXACT, ESTIMATE], ids=["exact", "estimate"])
@given(text=st.text(st.characters(), max_size=200))
def test_offsets_ascend_within_the_text_and_agree_with_the_count(tokenizer: Tokenizer, text: str) -> None:
    offsets = list(tokenizer.offsets(text))
    assert len(offsets) == tokenizer.count(text)
    assert offsets == sorted(offsets)
    assert not text or (offsets[0] == 0 and offsets[-1] < len(text))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_o200k_offsets_are_those_of_another_implementation(text: str) -> None:
    other = bpe_openai.get_encoding("o200k_base")
    _, offsets = other.decode_with_offsets(other.encode_ordinary(text))
    assert list(EXACT.offsets(text)) == offsets


def test_a_character_of_several_tokens_repeats_its_offset() -> None:
    offsets = list(EXACT.offsets("a𒀀b"))
    assert set(offsets) == {0, 1, 2}
    assert offsets.count(1) > 1


def test_a_long_text_has_the_tokens_of_its_lines_taken_together() -> None:
    line = "A line of text, 12 words long; it ends with a newline here.\n"
    text = line * 6000
    assert len(text) > 300_000
    assert EXACT.count(text) == 6000 * EXACT.count(line)
    assert text[EXACT.offsets(text)[-2] :] == ".\n" or EXACT.offsets(text)[-1] == len(text) - 2


@pytest.mark.parametrize("unit", [" ", "\n", "a", "啊", "-", "\t ", "9", "\ud800"])
def test_a_run_of_one_character_is_counted_without_trouble(unit: str) -> None:
    assert EXACT.count(unit * 200_000) > 0
    assert ESTIMATE.count(unit * 200_000) > 0


@pytest.mark.parametrize(("text", "error"), [(ENGLISH, 0.10), (CHINESE, 0.25), (CODE, 0.20)], ids=["en", "zh", "code"])
def test_the_estimate_is_near_the_exact_count(text: str, error: float) -> None:
    assert ESTIMATE.count(text * 3) == pytest.approx(EXACT.count(text * 3), rel=error)


def test_auto_takes_the_exact_ranks_and_estimates_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_tokenizer("auto"), O200kTokenizer)
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert isinstance(load_tokenizer("auto"), EstimatingTokenizer)
    with pytest.raises(ConfigError, match="extra `tiktoken`"):
        load_tokenizer("o200k_base")


def test_loading_opens_no_connection(tmp_path: Path) -> None:
    script = """
import socket
def refuse(*args, **kwargs): raise AssertionError("a connection was tried")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from lightrag_server.core.tokens import load_tokenizer
print(load_tokenizer("o200k_base").count("hello world"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "2"
