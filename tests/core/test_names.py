from __future__ import annotations

import pytest

from lightrag_server.core.ids import entity_key
from lightrag_server.core.names import Kinship, blocks_of, is_told_apart, kinship, normal_form, sure_form


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("U.S.", "US"),
        ("U.S.A.", "USA"),
        ("The United States", "United States"),
        ("Québec City", "Quebec City"),
        ("Kim Jong-il", "Kim Jong Il"),
        ("Saxe - Coburg", "Saxe-Coburg"),
        ("J. K. Rowling", "J.K. Rowling"),
        ("Scrooge, Ebenezer", "Ebenezer Scrooge"),
        ("Dr. John Seward", "John Seward"),
        ("Air Tanzania Corporation", "Air Tanzania"),
        ("Ben & Jerry's", "Ben and Jerrys"),
        ("World War II", "World War Two"),
        ("First Amendment Rights", "1st Amendment Rights"),
        ("10,000 Lakes", "10000 lakes"),
        ("World Health Organization (WHO)", "World Health Organization"),
        ("ＡＢＣ Ｎｅｗｓ", "abc news"),
        ("约翰·史密斯", "约翰史密斯"),
        ("华为技术有限公司", "华为技术"),
        ("北京大學", "北京大学"),
        ("王小明教授", "王小明"),
    ],
)
def test_spellings_of_one_name_are_surely_one(a: str, b: str) -> None:
    assert normal_form(a) == normal_form(b)
    assert sure_form(a) == sure_form(b)
    assert kinship(a, b) is Kinship.SAME
    assert not is_told_apart(a, b)


@pytest.mark.parametrize(
    ("a", "b", "kin"),
    [
        ("The Who", "Who", Kinship.FORM),
        ("Apple Inc.", "Apple", Kinship.FORM),
        ("Mr. Collins", "Collins", Kinship.FORM),
        ("Spider-Man", "Spiderman", Kinship.FORM),
        ("苹果公司", "苹果", Kinship.FORM),
        ("Neural Networks", "neural network", Kinship.PLURAL),
        ("J. K. Rowling", "Joanne Kate Rowling", Kinship.INITIALS),
        ("J. K. Rowling", "Joanne K. Rowling", Kinship.INITIALS),
        ("WHO", "World Health Organization", Kinship.ACRONYM),
        ("M.I.T.", "Massachusetts Institute of Technology", Kinship.ACRONYM),
        ("Moscow", "Moscow, Russia", Kinship.PART),
        ("John Taylor", "John H. Taylor", Kinship.PART),
        ("Scrooge", "Ebenezer Scrooge", Kinship.WORD),
    ],
)
def test_near_names_are_related_but_not_surely_one_and_meet(a: str, b: str, kin: Kinship) -> None:
    assert kinship(a, b) is kin
    assert kinship(b, a) is kin
    assert sure_form(a) != sure_form(b)
    if kin is not Kinship.PART:
        assert blocks_of(a, is_person=True) & blocks_of(b, is_person=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Apollo 11", "Apollo 13"),
        ("Apollo 11", "Apollo"),
        ("World War I", "World War II"),
        ("Henry IV", "Henry V"),
        ("version 1.5", "version 1.6"),
        ("version 1.5", "version 15"),
        ("2004 Olympics", "2008 Olympics"),
        ("First Amendment", "Second Amendment"),
        ("Loss of the Fourteenth", "Loss of the Thirteenth"),
        ("LX Legislature", "LXI Legislature"),
        ("North Korea", "South Korea"),
        ("Northern Ireland", "Ireland"),
        ("George Bush Sr.", "George Bush Jr."),
        ("Mr. Smith", "Mrs. Smith"),
        ("Boys' choir", "Girls' choir"),
        ("-9", "9"),
        ("河南大学", "河北大学"),
        ("第一次世界大战", "第二次世界大战"),
        ("王小明先生", "王小明女士"),
    ],
)
def test_what_tells_things_apart_always_does(a: str, b: str) -> None:
    assert is_told_apart(a, b)
    assert kinship(a, b) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("C++", "C#"),
        ("C++", "C"),
        ("Mercury (planet)", "Mercury (element)"),
        ("Vitamin C", "Vitamin D"),
        ("John Smith", "Jane Smith"),
        ("Mrs. John Smith", "John Smith"),
        ("が", "か"),
        ("?", "!"),
        ("Three", "3"),
    ],
)
def test_other_names_stay_others(a: str, b: str) -> None:
    assert sure_form(a) != sure_form(b)
    assert kinship(a, b) not in (Kinship.SAME, Kinship.FORM)


@pytest.mark.parametrize("name", ["The Who", "Müller & Co.", "World War II", "北京大學", "J.K. Rowling", "?!", "-9"])
def test_a_key_has_the_forms_of_its_name_and_no_form_is_empty(name: str) -> None:
    assert sure_form(entity_key(name)) == sure_form(name)
    assert normal_form(name)
