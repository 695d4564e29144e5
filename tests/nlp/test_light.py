from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightrag_server.core.records import Extraction
from lightrag_server.nlp import light
from lightrag_server.nlp.draft import MAX_DESCRIPTION_CHARS, Draft, Rank, Strength, bounded
from lightrag_server.nlp.language import detect

DATA = Path(__file__).parent.parent / "data"
CHINESE = (DATA / "qinghe-report.zh.txt").read_text(encoding="utf-8")
NOVEL = (DATA / "carol-excerpts.txt").read_text(encoding="utf-8")
"""From A Christmas Carol, staves one and three."""
NORWEGIAN = (
    "Marit Solberg ble født i Bergen. Hun ledet Bergen Museum i tjue år, og Bergen Museum kjøpte dampmaskinen fra "
    "Kværner Brug. Boken «Vannets kraft» forteller om Marit Solberg."
)

MUSEUM = """\
The Bergen Museum

Mr. Erik Solberg founded the Bergen Museum in Norway. Solberg's nephew Karl Lund is the director of the museum, and
he bought the steam engine from Kvaerner Ltd. The steam engine was built by Kvaerner. Every steam engine needs water
power. Mrs. Solberg lives in Oslo.
"""


def types(extraction: Extraction) -> dict[str, str]:
    return {entity.name: entity.type for entity in extraction.entities}


def facts(extraction: Extraction) -> set[tuple[str, str, str]]:
    return {(r.source, keyword, r.target) for r in extraction.relations for keyword in r.keywords}


def pairs(extractions: list[Extraction]) -> Counter[frozenset[str]]:
    return Counter(frozenset((r.source, r.target)) for e in extractions for r in e.relations)


# ----------------------------------------------------------------------------- English


def test_english_names_have_types_and_one_spelling_each() -> None:
    found = types(light.extract([MUSEUM])[0])
    assert found["Erik Solberg"] == "person"
    assert found["Karl Lund"] == "person"
    assert found["Norway"] == found["Oslo"] == "location"
    assert found["steam engine"] == "concept"
    assert "Mrs. Solberg" in found
    assert not {"Solberg", "Mr. Erik Solberg", "Kvaerner Ltd", "Kvaerner Ltd.", "he", "Every"} & set(found)
    assert "Kvaerner" in found


def test_english_relations_follow_the_grammar() -> None:
    found = facts(light.extract([MUSEUM])[0])
    assert ("Erik Solberg", "found", "Bergen Museum") in found
    assert ("Erik Solberg", "nephew", "Karl Lund") in found or ("Karl Lund", "nephew", "Erik Solberg") in found
    assert ("Mrs. Solberg", "live in", "Oslo") in found
    assert ("steam engine", "built by", "Kvaerner") in found


def test_he_stands_for_the_only_person_named_so_far() -> None:
    one = light.extract(["The winter was long. Karl Lund stayed in Oslo. He admired Bergen and its people."])[0]
    two = light.extract(["Karl Lund met Erik Dahl in Oslo and in Rome. He admired Bergen and its people."])[0]
    assert ("Karl Lund", "admire", "Bergen") in facts(one)
    assert not [fact for fact in facts(two) if fact[1] == "admire"]


def test_a_title_line_is_not_part_of_the_first_name() -> None:
    found = types(
        light.extract(["American Idol\nChris Daughtry sang a song that he had written for the show in Boston."])[0]
    )
    assert "Chris Daughtry" in found
    assert not [name for name in found if "Idol Chris" in name]


def test_the_sentence_is_the_description() -> None:
    extraction = light.extract([MUSEUM])[0]
    oslo = next(entity for entity in extraction.entities if entity.name == "Oslo")
    assert oslo.description == "Mrs. Solberg lives in Oslo."
    assert all(len(e.description) <= MAX_DESCRIPTION_CHARS for e in (*extraction.entities, *extraction.relations))


def test_short_names_are_told_apart_where_several_people_share_them() -> None:
    names = light.full_names(
        ["Bob Cratchit sat with Bob. Peter Cratchit came. Cratchit smiled at Peter. Cried Bob: Tim is here. He cried."]
    )
    assert names["Bob"] == "Bob Cratchit"
    assert names["Peter"] == "Peter Cratchit"
    assert "Cratchit" not in names
    assert not [name for name in names.values() if "Cried" in name]


def test_a_person_known_by_a_short_name_keeps_it() -> None:
    text = "Ebenezer Scrooge came in. " * 2 + "Then Scrooge went. " * 60 + "They call him Ebenezer."
    assert light.full_names([text]) == {"Ebenezer Scrooge": "Scrooge", "Ebenezer": "Scrooge"}
    assert light.full_names(["Marit Solberg came in. Then Solberg went."]) == {"Solberg": "Marit Solberg"}


def test_the_people_of_a_novel_and_their_ties_are_found() -> None:
    paragraphs = NOVEL.split("\n\n")
    texts = ["\n\n".join(paragraphs[n : n + 12]) for n in range(0, len(paragraphs), 12)]
    extractions = light.extract(texts)
    found = {name: type for extraction in extractions for name, type in types(extraction).items()}
    people = ("Scrooge", "Marley", "Bob Cratchit", "Tiny Tim", "Mrs. Cratchit", "Peter Cratchit")
    assert {name: found.get(name) for name in people} == dict.fromkeys(people, "person")
    assert {frozenset(("Scrooge", "Marley")), frozenset(("Bob Cratchit", "Tiny Tim"))} <= set(pairs(extractions))
    assert max(len(extraction.entities) for extraction in extractions) <= 40


SHIP = """\
MV Harrow Star (ferry)

The MV Harrow Star is a ferry built by the Dunmore Yard. It was named by Lady Agnes Poole in 1961. The ferry was sold to
Kestrel Lines for the route 14. Its sister ship "Lights of the Sound" was lost near Stornoway, Scotland. Harrow Star was
shown in the film "Cold Harbour," which won a prize, and its engine carries the plate KX-4410. "Good day," said Captain
Anders Holm.
"""


def test_the_title_names_what_the_page_speaks_of() -> None:
    found = facts(light.extract([SHIP])[0])
    assert ("MV Harrow Star", "named by", "Lady Agnes Poole") in found
    assert ("MV Harrow Star", "sold to", "Kestrel Lines") in found
    assert ("MV Harrow Star", "built by", "Dunmore Yard") in found
    he = facts(
        light.extract(["Marta Lindqvist\nLindqvist met Otto Brahm in Graz. She wrote to Clara Voss in 1911."])[0]
    )
    assert ("Marta Lindqvist", "write to", "Clara Voss") in he


def test_a_heading_that_the_text_does_not_take_up_names_nothing() -> None:
    text = (
        "The works were founded in Calder by Amos Pell.\n\nII. The coming of the railway\n\nIt reached Wenbury in 1867."
    )
    extraction = light.extract([text])[0]
    assert "Wenbury" in types(extraction)
    assert not [name for name in types(extraction) if "railway" in name.lower()]


def test_quoted_titles_and_codes_are_names_and_speech_is_not() -> None:
    found = types(light.extract([SHIP])[0])
    assert found["Lights of the Sound"] == found["Cold Harbour"] == "content"
    assert {"KX-4410", "Stornoway", "Anders Holm"} <= set(found)
    assert not {"Good day", "Good"} & set(found)
    assert ("Stornoway", "in", "Scotland") in facts(light.extract([SHIP])[0])


def test_names_keep_their_parts() -> None:
    text = "Senator Hugo Brandl led the Halden riding. He met Kim Yong-ho of the band Stone Sour and drove Route 66."
    found = types(light.extract([text + " The years 1914-1918 were hard for all of them."])[0])
    assert {"Hugo Brandl", "Kim Yong-ho", "Stone Sour", "Route 66"} <= set(found)
    assert "1914-1918" not in found
    years = types(
        light.extract(["They won the 2018 Harbour Games in KwaZulu-Natal. In 1999 Oslo had no such thing."])[0]
    )
    assert {"2018 Harbour Games", "KwaZulu-Natal", "Oslo"} <= set(years)


def test_middle_names_and_last_words_lead_to_one_name() -> None:
    names = light.full_names(["Robert Chisholm\nRobert Lawrence Chisholm was born in Kentville. Chisholm was elected."])
    assert names == {"Robert Lawrence Chisholm": "Robert Chisholm", "Chisholm": "Robert Chisholm"}
    two = light.full_names(["John Adam Roe met John Brian Roe. John Roe was neither."])
    assert "John Adam Roe" not in two


# ----------------------------------------------------------------------------- Chinese


@pytest.fixture(scope="module")
def report() -> list[Extraction]:
    return light.extract(re.split(r"\n(?=第.章)", CHINESE))


def test_chinese_people_places_and_organizations_are_found(report: list[Extraction]) -> None:
    found = {name: type for extraction in report for name, type in types(extraction).items()}
    people = ("林若溪", "林国栋", "周明远", "陈立群", "孙海涛", "赵晓岚", "卡尔·贝克尔")
    assert {name: found.get(name) for name in people} == dict.fromkeys(people, "person")
    organizations = (
        "海州大学",
        "北辰科技公司",
        "莱茵动力公司",
        "云岭银行",
        "海州电力集团",
        "云岭县水利局",
        "白水保护协会",
    )
    assert {name: found.get(name) for name in organizations} == dict.fromkeys(organizations, "organization")
    assert {found.get(name) for name in ("青禾镇", "白水河", "海州市", "云岭县")} == {"location"}
    assert found["贯流式水轮机"] == "concept"
    assert not {"洪水", "白水", "贝克尔", "时候"} & set(found)


def test_chinese_relations_carry_the_verb_or_the_role_between(report: list[Extraction]) -> None:
    found = set().union(*map(facts, report))
    assert {
        ("陈立群", "创办", "北辰科技公司"),
        ("青禾镇", "位于", "云岭县"),
        ("卡尔·贝克尔", "任职于", "莱茵动力公司"),
        ("赵晓岚", "毕业于", "海州大学"),
        ("海州电力集团", "任命", "林若溪"),
        ("林若溪", "父亲", "林国栋"),
        ("林若溪", "申请", "云岭银行"),
        ("白水保护协会", "会长", "赵晓岚"),
    } <= found


def test_a_chinese_clause_without_a_name_goes_on_about_the_first_one(report: list[Extraction]) -> None:
    found = set().union(*map(facts, report))
    assert ("陈立群", "离开", "海州市") in found
    assert ("海州电力集团", "离开", "海州市") not in found


def test_chinese_names_that_the_dictionary_does_not_know_are_put_together() -> None:
    text = (
        "砚湖在柳溪镇东边。砚湖的水很软，砚湖边上有一家工厂，名叫砚湖纸业股份有限公司。砚湖纸业在东京起诉公司的对手。"
        "由姚静如担任厂长，姚静如认识罗知行。罗知行在芬兰遇到尤哈·科斯基宁，尤哈说砚湖很美。"
        "母校西安交通大学请罗知行演讲，公司的股票上市以后，一家外国公司没有中断合作。"
    )
    found = types(light.extract([text])[0])
    assert {"砚湖", "砚湖纸业", "姚静如", "罗知行", "尤哈·科斯基宁", "西安交通大学"} <= set(found)
    assert not {"尤哈", "姚静", "基宁", "砚湖纸业股份有限公司", "上市", "中断", "外国公司", "东京起诉公司"} & set(found)


# ----------------------------------------------------------------------------- any language


def test_languages_are_told_apart() -> None:
    assert detect(MUSEUM) == "en"
    assert detect(CHINESE) == "zh"
    assert detect(NORWEGIAN) == "other"
    assert detect("東京の天気は晴れです。私は学校に行きます。") == "other"
    assert detect("") == "other"


def test_other_languages_yield_names_quoted_titles_and_links() -> None:
    extraction = light.extract([NORWEGIAN])[0]
    assert {"Marit Solberg", "Bergen Museum", "Kværner Brug", "Vannets kraft"} <= set(types(extraction))
    assert frozenset(("Vannets kraft", "Marit Solberg")) in pairs([extraction])
    assert "Boken" not in types(extraction)


SPANISH = """\
La fábrica de Alcobendas

Don Julián Herrera fundó la fábrica. La Compañía Relojera del Norte la compró en 1934 y la llevó a Getafe, donde
trabajó mucha gente de la ciudad durante muchos años, con el modelo TR-200. Su hija, Inés Herrera, escribió «El tiempo
prestado».
"""
GERMAN = (
    "Die Orgel der Kirche baute Johann Amsler in der Werkstatt. Seine Tochter Charlotte Amsler schrieb ein Buch über "
    "die Arbeit mit dem Holz. Nach dem Brand kaufte die Stadt das Haus von Charlotte Amsler."
)
JAPANESE = (
    "北浜製作所は田村清一が大阪市で創業した会社である。田村清一は東京帝国大学で学んだ。娘の田村節子は『歯車と私』という本を書いた。"
    "田村節子は神戸市に住んでいる。"
)


def test_names_of_other_languages_lose_what_only_begins_a_sentence() -> None:
    spanish, german, japanese = (types(light.extract([text])[0]) for text in (SPANISH, GERMAN, JAPANESE))
    assert {"La fábrica de Alcobendas", "Julián Herrera", "Compañía Relojera del Norte", "Getafe", "TR-200"} <= set(
        spanish
    )
    assert {"Johann Amsler", "Charlotte Amsler"} <= set(german)
    assert not {"Kirche", "Werkstatt", "Holz", "Tochter Charlotte Amsler", "Seine Tochter Charlotte Amsler"} & set(
        german
    )
    assert {"北浜製作所", "田村清一", "大阪市", "東京帝国大学", "田村節子", "歯車と私", "神戸市"} <= set(japanese)
    assert frozenset(("La fábrica de Alcobendas", "Compañía Relojera del Norte")) in pairs(light.extract([SPANISH]))


def test_without_the_extra_chinese_still_yields_what_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightrag_server.nlp.chinese.is_available", lambda: False)
    assert {"林若溪", "陈立群", "北辰科技公司"} <= {e.name for x in light.extract([CHINESE]) for e in x.entities}


def test_a_document_of_several_languages_keeps_the_order_of_its_texts() -> None:
    extractions = light.extract([CHINESE, MUSEUM, "", NORWEGIAN])
    assert ["林若溪" in types(extractions[0]), "Karl Lund" in types(extractions[1])] == [True, True]
    assert extractions[2] == Extraction()
    assert "Kværner Brug" in types(extractions[3])


def test_the_same_texts_give_the_same_extractions() -> None:
    assert light.extract([MUSEUM, CHINESE, NORWEGIAN]) == light.extract([MUSEUM, CHINESE, NORWEGIAN])


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["", "The cat and the dog are in the house of ", "我们在北京大学学习。"]))
def test_any_text_is_read(text: str, start: str) -> None:
    extraction = light.extract([start + text])[0]
    names = {entity.name for entity in extraction.entities}
    assert all(relation.source in names and relation.target in names for relation in extraction.relations)


# ----------------------------------------------------------------------------- choice


def test_names_come_first_terms_are_bounded_and_single_terms_need_a_stated_relation() -> None:
    draft = Draft()
    for n in range(60):
        draft.mention(f"Name{n}", "person", "s", Rank.NAMED)
        draft.mention(f"term {n}", "concept", "s", Rank.REPEATED)
    draft.mention("lone term", "concept", "s", Rank.ONCE)
    assert {entity.type for entity in draft.extraction({}).entities} == {"person"}
    draft = Draft()
    draft.mention("Anna", "person", "s", Rank.NAMED)
    for term in ("tied term", "loose term"):
        draft.mention(term, "concept", "s", Rank.ONCE)
    draft.relate("Anna", "tied term", "build", "Anna builds.", Strength.STATED)
    draft.relate("Anna", "loose term", "together with", "Anna.", Strength.TOGETHER)
    assert [entity.name for entity in draft.extraction({}).entities] == ["Anna", "tied term"]


def test_a_stated_relation_replaces_a_guess_from_the_same_sentence() -> None:
    draft = Draft()
    for name in ("Anna", "Bo"):
        draft.mention(name, "person", "s", Rank.NAMED)
    draft.relate("Anna", "Bo", "together with", "Anna met and paid Bo.", Strength.TOGETHER)
    draft.relate("Bo", "Anna", "meet", "Anna met and paid Bo.", Strength.STATED)
    draft.relate("Anna", "Bo", "pay", "Anna met and paid Bo.", Strength.STATED)
    (relation,) = draft.extraction({}).relations
    assert (relation.keywords, relation.weight) == (("meet", "pay"), 1.0)


@given(st.text(alphabet="ab é林。", min_size=1, max_size=900))
def test_a_bounded_sentence_keeps_the_name(text: str) -> None:
    sentence = text + " Name " + text
    assert "Name" in bounded(sentence, "Name")
    assert len(bounded(sentence, "Name")) <= MAX_DESCRIPTION_CHARS
