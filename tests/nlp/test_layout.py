from __future__ import annotations

import pytest

from lightrag_server.nlp.layout import paragraphs, topic_of


@pytest.mark.parametrize(
    ("title", "topic"),
    [
        ("## 4.2 Feed pump", "Feed pump"),
        ("Chapter 3: The flood", "The flood"),
        ("Ipswich, Queensland", "Ipswich"),
        ("Mound Township, Warren County, Indiana", "Mound Township"),
        ("Mercury (planet)", "Mercury"),
        ("2014 World Cup", "2014 World Cup"),
        ("Part of the Union", "Part of the Union"),
        ("第一章 竹纸作坊", "竹纸作坊"),
    ],
)
def test_a_title_names_something_without_its_number_and_additions(title: str, topic: str) -> None:
    assert topic_of(title) == topic


def test_wrapped_lines_are_joined_and_titles_stand_over_what_follows() -> None:
    wrapped = "The Oak Mill was built by the river and it was\nlong the only one of its kind."
    text = f"Oak Mill\n\n{wrapped}\n\n# Noise\n\nIt is loud."
    first, body, heading, last = paragraphs(text)
    assert (first.is_title, first.topic, first.is_about_topic) == (True, "Oak Mill", True)
    assert body.text == wrapped.replace("\n", " ")
    assert (body.topic, body.is_title) == ("Oak Mill", False)
    assert (heading.is_title, heading.topic, last.topic) == (True, "", "")


@pytest.mark.parametrize(("line", "topic"), [("# Oak Mill", "Oak Mill"), ("## Faults", ""), ("10. Faults", "")])
def test_a_section_at_the_beginning_of_a_chunk_is_not_the_title_of_a_page(line: str, topic: str) -> None:
    assert [paragraph.topic for paragraph in paragraphs(f"{line}\n\nA list follows.")] == [topic, topic]


def test_a_text_of_one_line_or_one_that_goes_on_has_no_title() -> None:
    assert [paragraph.is_title for paragraph in paragraphs("Oak Mill")] == [False]
    assert not any(p.topic for p in paragraphs("and so he went\n\nThe next day he came back to the mill."))
