"""Follow-up questions as they are searched for: dialogues in English and Chinese."""

from __future__ import annotations

import time

import pytest

from lightrag_server.core.records import Turn
from lightrag_server.core.standalone import standalone


def told(*texts: str) -> list[Turn]:
    """The user speaks first, then they take turns."""
    return [Turn("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


MARLEY = ("Who was Jacob Marley?", "Jacob Marley was the partner of Ebenezer Scrooge [1].")
PARTNER = ("Who was Scrooge's partner?", "His partner was Jacob Marley [1].")
LIGHTHOUSE = ("Who built the lighthouse of Kallnes?", "According to the report, it was built by Greta Holm [1].")
REVENUE = ("What was the revenue of Acme in 2022?", "It was 5 million [1].")
HOME = ("Where does Scrooge live?", "Scrooge lives in London [2].")
SCROOGE = ("斯克鲁奇是谁？", "斯克鲁奇是伦敦的商人。[1]")
COMPANION = ("斯克鲁奇的合伙人是谁？", "是雅各布·马利。")
QINGHE = ("青河公司2022年的收入是多少？", "五百万元。")


@pytest.mark.parametrize(
    ("history", "question", "searched"),
    [
        # pronouns whose subject is told
        (MARLEY, "When did he die?", "When did Jacob Marley die?"),
        (MARLEY, "Who buried him?", "Who buried Jacob Marley?"),
        (PARTNER, "When did he die?", "When did Scrooge's partner die (Jacob Marley)?"),
        (LIGHTHOUSE, "When was she born?", "When was Greta Holm born?"),
        (LIGHTHOUSE, "When was it built?", "When was the lighthouse of Kallnes built?"),
        (REVENUE, "How did it change?", "How did the revenue of Acme in 2022 change?"),
        (SCROOGE, "他住在哪里？", "斯克鲁奇住在哪里？"),
        (COMPANION, "他什么时候去世的？", "斯克鲁奇的合伙人什么时候去世的 (雅各布·马利)？"),
        # whose subject is not: all names that were named
        (HOME, "When was it founded?", "When was it founded (Scrooge, London)?"),
        (MARLEY, "How did they meet?", "How did they meet (Jacob Marley, Ebenezer Scrooge)?"),
        (MARLEY, "Who lived there?", "Who lived there (Jacob Marley, Ebenezer Scrooge)?"),
        (MARLEY, "What happened in that year?", "What happened in that year (Jacob Marley, Ebenezer Scrooge)?"),
        (SCROOGE, "当时发生了什么？", "当时发生了什么 (斯克鲁奇、伦敦、商人)？"),
        (SCROOGE, "他们怎么认识的？", "他们怎么认识的 (斯克鲁奇、伦敦、商人)？"),
        # fragments that take the place of their like
        (REVENUE, "and in 2023?", "What was the revenue of Acme in 2023?"),
        (REVENUE, "What about Globex?", "What was the revenue of Globex in 2022?"),
        (REVENUE, "And the profit?", "What was the profit of Acme in 2022?"),
        (HOME, "And Bob Cratchit?", "Where does Bob Cratchit live?"),
        (MARLEY, "and his partner?", "Who was Jacob Marley's partner?"),
        (("How many people live in Berlin?", "3.7 million."), "And in London?", "How many people live in London?"),
        (QINGHE, "那2023年呢？", "青河公司2023年的收入是多少？"),
        (SCROOGE, "那马利呢？", "马利是谁？"),
        (SCROOGE, "他的合伙人呢？", "斯克鲁奇的合伙人是谁？"),
        # fragments that stand beside it
        (MARLEY, "and in 1843?", "Who was Jacob Marley (in 1843)?"),
        (MARLEY, "why?", "Who was Jacob Marley (why, Ebenezer Scrooge)?"),
        (MARLEY, "Why is that?", "Who was Jacob Marley (Why is that, Ebenezer Scrooge)?"),
        (MARLEY, "In what year?", "Who was Jacob Marley (In what year, Ebenezer Scrooge)?"),
        (MARLEY, "What happened next?", "Who was Jacob Marley (What happened next, Ebenezer Scrooge)?"),
        (QINGHE, "利润呢？", "青河公司2022年的收入是多少 (利润)？"),
        (SCROOGE, "后来呢？", "斯克鲁奇是谁 (后来、伦敦、商人)？"),
        (SCROOGE, "为什么？", "斯克鲁奇是谁 (为什么、伦敦、商人)？"),
        (SCROOGE, "什么时候去世的？", "斯克鲁奇是谁 (什么时候去世的、伦敦、商人)？"),
        (SCROOGE, "那他呢？", "斯克鲁奇是谁？"),
    ],
)
def test_a_follow_up_is_searched_for_with_what_it_is_about(history: tuple[str, ...], question: str, searched: str):
    assert standalone(question, told(*history)) == searched


@pytest.mark.parametrize(
    "question",
    [
        "Who was Tiny Tim?",
        "Where is Camden Town?",
        "And where is Camden Town?",
        "So Scrooge was alone?",
        "Bob Cratchit",
        "What's RAG?",
        "Tell me more about Tiny Tim",
        "What did the ghost tell Scrooge about his nephew?",
        "Who was Fred, and when did he marry?",
        "How do I install Redis and what does it cost?",
        "How does a heat pump get its energy?",
        "How do plants make their food?",
        "Which company changed its name in 2020?",
        "Is it true that Scrooge was poor?",
        "How long does it take to walk to Camden Town?",
        "Is there a lighthouse in Kallnes?",
        "Who played the singer of It'll Be Me?",
        "The ghost that visited Scrooge first, what was its name?",
        "Germany is a country. Who ruled this country in 1900?",
        "马利是谁？",
        "马利住在哪里？",
        "什么是通货膨胀？",
        "谁创办了青河公司？",
        "为什么天空是蓝色的？",
        "青河公司和它的子公司有哪些产品？",
        "青河公司还有其他产品吗？",
        "吉他有几根弦？",
        "如何安装Redis？",
    ],
)
@pytest.mark.parametrize("history", [MARLEY, SCROOGE], ids=["English", "Chinese"])
def test_a_question_that_stands_alone_stays_as_it_is(history: tuple[str, ...], question: str):
    assert standalone(question, told(*history)) == question


def test_without_history_nothing_is_completed():
    assert standalone("When did he die?", []) == "When did he die?"
    assert standalone("why?", [Turn("assistant", "Welcome!"), Turn("user", "Hi!")]) == "why?"


def test_questions_that_rest_on_one_another_are_completed_in_turn():
    history = told(
        "Who was Jacob Marley?", "The partner.", "When was he born?", "In 1770.", "And when did he die?", "?"
    )
    assert standalone("Where is he buried?", history) == "Where is Jacob Marley buried?"
    assert standalone("and Scrooge?", history) == "when did Scrooge die?"


def test_thanks_and_commands_of_a_chat_are_not_what_it_is_about():
    history = told("/naive[as a poem] Who was Jacob Marley?", "A ghost.", "Thank you!", "You are welcome.")
    assert standalone("When did he die?", history) == "When did Jacob Marley die?"
    assert (
        standalone("Why?", told("What is TCP/IP used for?", "Networks.")) == "What is TCP/IP used for (Why, Networks)?"
    )


def test_an_answer_that_found_nothing_names_nobody():
    history = told("Who built the lighthouse?", "The Documents Hold nothing on Greta Holm. [no-context]")
    assert "Greta" not in standalone("When was she born?", history)


def test_long_and_hostile_conversations_take_no_time():
    turns = told(*["when did he and the " * 1500 + "a" * 30_000] * 128)
    began = time.process_time()
    for question in ("and " * 10_000, "the " * 16_000, "他" * 60_000, "why?", "When did he die?", "(" * 60_000):
        standalone(question, turns)
    assert time.process_time() - began < 1.0
