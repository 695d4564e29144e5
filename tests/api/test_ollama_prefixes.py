"""Prefixes of chat messages: what they ask for and what is left as the question."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.api.ollama.prefixes import Message, read
from lightrag_server.api.questions import is_task
from lightrag_server.core.records import Mode

MODES: tuple[Mode, ...] = get_args(Mode)
SEARCHING = tuple(mode for mode in MODES if mode != "bypass")
modes = st.sampled_from(MODES)
questions = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
words = st.text("abc 唐僧?", min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who is Marley?", Message("who is Marley?", "hybrid")),
        ("/mix who is Marley?", Message("who is Marley?", "mix")),
        ("/mix\n唐僧有几个徒弟", Message("唐僧有几个徒弟", "mix")),
        ("/naive", Message("", "naive")),
        ("/bypass tell me more", Message("tell me more", "bypass")),
        ("/mixture of what?", Message("/mixture of what?", "hybrid")),
        ("/local/bin is what?", Message("/local/bin is what?", "hybrid")),
        ("/mix唐僧", Message("/mix唐僧", "hybrid")),
        ("/context who?", Message("who?", "mix", wants_evidence=True)),
        ("/context唐僧有几个徒弟", Message("唐僧有几个徒弟", "mix", wants_evidence=True)),
        ("/localcontext who?", Message("who?", "local", wants_evidence=True)),
        ("/contextual embeddings?", Message("/contextual embeddings?", "hybrid")),
        ("/bypasscontext who?", Message("/bypasscontext who?", "hybrid")),
        ("/[as a diagram] who?", Message("who?", "hybrid", "as a diagram")),
        ("/mix[使用mermaid格式画图] 请画图", Message("请画图", "mix", "使用mermaid格式画图")),
        ("/mix[short\nplease]who?", Message("who?", "mix", "short\nplease")),
        ("/mix[] who?", Message("who?", "mix")),
        ("/globalcontext[as a list] who?", Message("who?", "global", "as a list", wants_evidence=True)),
        ("/mix[no end who?", Message("/mix[no end who?", "hybrid")),
        ("/MIX who?", Message("/MIX who?", "hybrid")),
        ("what does /mix do?", Message("what does /mix do?", "hybrid")),
    ],
)
def test_a_prefix_is_read(text: str, message: Message):
    assert read(text, "hybrid") == message


@given(text=questions, default=modes)
def test_a_message_without_a_slash_is_its_own_question(text: str, default: Mode):
    text = text.lstrip("/").strip()
    assert read(text, default) == Message(text, default)


@given(text=questions, mode=modes, default=modes, space=st.sampled_from([" ", "\n", "\t", "  "]))
def test_a_mode_and_a_question_are_found_again(text: str, mode: Mode, default: Mode, space: str):
    assert read(f"/{mode}{space}{text}", default) == Message(text, mode)


@given(text=words, mode=st.sampled_from([*SEARCHING, ""]), default=modes)
def test_the_evidence_can_be_asked_for_in_each_mode(text: str, mode: Mode, default: Mode):
    assert read(f"/{mode}context {text}", default) == Message(text, mode or "mix", wants_evidence=True)


@given(text=words, prompt=words, mode=st.sampled_from([*MODES, ""]), default=modes, space=st.sampled_from(["", " "]))
def test_instructions_stand_apart_from_the_question(text: str, prompt: str, mode: Mode, default: Mode, space: str):
    assert read(f"/{mode}[{prompt}]{space}{text}", default) == Message(text, mode or default, prompt)


@given(text=st.text(), default=modes)
def test_nothing_of_a_message_is_lost(text: str, default: Mode):
    message = read(text, default)
    assert text.strip().endswith(message.text)
    assert message.user_prompt in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("### Task:\nName this chat.\n### Chat History:\n<chat_history>\nUSER: hi\n</chat_history>", True),
        ("### Task:\nSuggest what to ask next.\n<chat_history>\nASSISTANT: hello\n</chat_history>", True),
        ("\n### Task:\nFinish <text>.\n<chat_history>\n</chat_history>\n<text>Who is</text>", True),
        ("Find tags.\n<chat_history>\nUSER: hi\nASSISTANT: hello\n</chat_history>", True),
        ("### Task:\nAnswer from the text below.\n<context>rain</context>", False),
        ("What does <chat_history> mean in a prompt?", False),
        ("What is a ### Task heading with <chat_history> for?", False),
    ],
)
def test_tasks_of_chat_front_ends_are_told_from_questions(text: str, expected: bool):
    assert is_task(text) is expected
