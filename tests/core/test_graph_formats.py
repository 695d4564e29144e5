from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core.edits import EntityFields
from lightrag_server.core.graph_formats import FORMATS, Format, format_of
from lightrag_server.core.graph_formats.json_lines import MAX_ITEM_CHARS, PIECE_BYTES
from lightrag_server.core.graph_formats.rows import EntityRow, RelationRow
from lightrag_server.core.ids import display_name, entity_key
from lightrag_server.errors import InvalidInput

ODD = (
    "=1+1",
    "'=2",
    "-x",
    "@SUM(A1)",
    "+",
    'say "it", twice',
    "a/b?c&d#e",
    "知识图谱",
    "🦜🏽‍💻",
    "<b>&amp;</b>",
    "]]>",
    "semi;colon,comma",
    "x" * 256,
)


def entity(name: str, description: str = "", type: str = "THING") -> EntityRow:
    return EntityRow(name, type, description, "doc-1-chunk-000<SEP>doc-2-chunk-001", "a.txt<SEP>b, c.txt")


def relation(source: str, target: str, description: str = "", weight: float | None = 1.5) -> RelationRow:
    return RelationRow(source, target, description, "knows, likes", weight, "manual_creation", "a.txt")


def written(format: Format, entities: Sequence[EntityRow], relations: Sequence[RelationRow], batch: int = 2) -> bytes:
    writer = FORMATS[format].writer()
    parts = [writer.begin()]
    parts += [writer.entities(entities[i : i + batch]) for i in range(0, len(entities), batch)]
    parts += [writer.relations(relations[i : i + batch]) for i in range(0, len(relations), batch)]
    return b"".join([*parts, writer.end()])


def read(format: Format, data: bytes) -> tuple[list[EntityRow], list[RelationRow]]:
    rows = list(FORMATS[format].read(io.BytesIO(data)))
    return [r for r in rows if isinstance(r, EntityRow)], [r for r in rows if isinstance(r, RelationRow)]


def values(rows: Sequence[EntityRow] | Sequence[RelationRow]) -> list[tuple[object, ...]]:
    return [row.values() for row in rows]


def mistake(format: Format, data: bytes | str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(format, data.encode() if isinstance(data, str) else data)
    return str(caught.value)


# ----------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(format: Format) -> None:
    entities = [entity(name, f"{name}\nsecond line\r\nthird\tone") for name in ODD]
    relations = [relation(a, b, f"{a} - {b}", n / 3) for n, (a, b) in enumerate(pairwise(ODD))]
    back = read(format, written(format, entities, relations))
    assert values(back[0]) == values(entities)
    assert values(back[1]) == values(relations)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_graph_is_a_whole_file(format: Format) -> None:
    assert read(format, written(format, [], [])) == ([], [])


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=40).map(str.strip)
NAMES = TEXTS.map(display_name).filter(lambda name: bool(entity_key(name)) and display_name(name) == name)


@given(st.data())
def test_any_text_comes_back_from_every_format(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=2, max_size=5, unique_by=entity_key))
    entities = [EntityRow(name, *data.draw(st.tuples(*[TEXTS] * 4))) for name in names]
    weight = data.draw(st.floats(0, 1e9))
    relations = [RelationRow(names[0], names[1], data.draw(TEXTS), data.draw(TEXTS), weight, "", "")]
    for format in FORMATS:
        back = read(format, written(format, entities, relations))
        assert values(back[0]) == values(entities)
        assert values(back[1]) == values(relations)


@pytest.mark.parametrize("format", FORMATS)
def test_files_larger_than_a_piece_are_read_whole(format: Format) -> None:
    entities = [entity(f"Name {n} 知识", "long text" * 30) for n in range(2_000)]
    back, _ = read(format, data := written(format, entities, [], batch=500))
    assert values(back) == values(entities)
    assert format == "csv" or len(data) > 4 * PIECE_BYTES


def test_unknown_weights_and_empty_fields_are_left_to_documents() -> None:
    [row], [edge] = read("csv", written("csv", [entity("A", type="UNKNOWN")], [relation("A", "B", weight=None)]))
    assert row.creation().fields.description is None
    assert row.creation().fields.type is None
    assert edge.creation().fields.weight is None
    assert EntityRow("A", "", "", "", "").creation().fields == EntityFields()


# ----------------------------------------------------------------------------- other programs' files


def test_a_file_of_lightrag_is_read() -> None:
    data = """<?xml version='1.0' encoding='utf-8'?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<key id="d9" for="edge" attr.name="keywords" attr.type="string" /><key id="d7" for="edge" attr.name="weight"
attr.type="double" /><key id="d2" for="node" attr.name="description" attr.type="string" />
<key id="d1" for="node" attr.name="entity_type" attr.type="string" />
<key id="d0" for="node" attr.name="entity_id" attr.type="string" />
<key id="d5" for="node" attr.name="created_at" attr.type="long" />
<graph edgedefault="undirected"><node id="Bob">
<data key="d0">Bob</data><data key="d1">person</data><data key="d2">One.&lt;SEP&gt;Two.</data><data key="d5">17</data>
</node><node id="Tim"><data key="d0">Tim</data></node>
<edge source="Bob" target="Tim"><data key="d7">2.0</data><data key="d9">father,son</data></edge>
</graph></graphml>"""
    entities, relations = read("graphml", data.encode())
    assert values(entities) == [("Bob", "person", "One.\nTwo.", "", ""), ("Tim", "", "", "", "")]
    assert values(relations) == [("Bob", "Tim", "", "father,son", 2.0, "", "")]


def test_nodes_with_numbers_for_ids_are_known_by_their_label() -> None:
    data = (
        '<graphml><key id="k" attr.name="label"/><graph><node id="n0"><data key="k">Bob</data></node>'
        '<node id="n1"><data key="k">Tim</data></node><edge source="n1" target="n0"/></graph></graphml>'
    )
    entities, relations = read("graphml", data.encode())
    assert [row.name for row in entities] == ["Bob", "Tim"]
    assert [(row.source, row.target, row.weight) for row in relations] == [("Tim", "Bob", None)]


def test_json_with_lightrags_names_and_other_members_is_read() -> None:
    data = {
        "chunks": [{"content": "x" * 3}],
        "relationships": [{"src_id": "A", "tgt_id": "B", "weight": 2, "keywords": "k<SEP>l", "other": None}],
        "version": 17,
        "entities": [{"entity_name": " A ", "entity_type": None}, {"entity_id": "B"}],
    }
    entities, relations = read("json", b"\xef\xbb\xbf" + json.dumps(data, indent=2).encode())
    assert [row.name for row in entities] == ["A", "B"]
    assert values(relations) == [("A", "B", "", "k,l", 2.0, "", "")]


def test_a_single_csv_file_is_read_by_its_head_line() -> None:
    entities, _ = read("csv", b'description,entity_name\r\n"two\r\nlines",A\r\n\r\nmore,B\r\n')
    assert [(row.name, row.description, row.place) for row in entities] == [
        ("A", "two\r\nlines", "line 3"),
        ("B", "more", "line 5"),
    ]
    _, relations = read("csv", b"source_entity,target_entity\nA,B\n")
    assert [(row.source, row.target) for row in relations] == [("A", "B")]


def test_a_format_is_told_by_name_or_content() -> None:
    assert format_of("graph.GraphML", b"") == "graphml"
    assert format_of("x.json", b"<") == "json"
    assert format_of("", b"PK\x03\x04...") == "csv"
    assert format_of("", b"\xef\xbb\xbf\n <graphml>") == "graphml"
    assert format_of("upload", b' {"entities"') == "json"
    assert format_of("", b"entity_name,description") == "csv"


# ----------------------------------------------------------------------------- spreadsheets


def test_no_cell_of_a_spreadsheet_is_a_formula() -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "'=kept"]
    data = written("csv", [entity(name, "\t=1") for name in names], [relation(names[0], "B", "=HYPERLINK(1)")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for member in archive.namelist():
            text = archive.read(member).decode("utf-8-sig")
            for cells in list(csv.reader(io.StringIO(text)))[1:]:
                assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert [row.name for row in read("csv", data)[0]] == names


# ----------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("<graphml><graph><node id='a'></graph></graphml>", "line 1, column 31: mismatched tag"),
        ("<graphml>\n<graph>\n<node id=' '/></graph></graphml>", "line 3: entity_name is missing"),
        ("<graphml>\n<graph><node id='a'/><edge source='a' target='b'/>", "line 2: the target 'b' is no node"),
        ("<graphml><graph><node id='a'/>\n<edge source='a' target='a'/>", "line 2: the relation leads from 'a' to"),
        ("<html><body/></html>", "no graph"),
        ("", "no element found"),
        ("no XML", "line 1, column 0: syntax error"),
        ("<?xml version='1.0' encoding='x-nothing'?><graphml/>", "unknown encoding"),
        (f"<graphml><graph>\n<node id='{'x' * 257}'/>", "line 2: entity_name has more than 256 characters"),
    ],
)
def test_mistakes_in_graphml_are_named_with_their_line(data: str, said: str) -> None:
    assert said in mistake("graphml", data)


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<graphml><graph><node id="&b;"/></graph></graphml>"""
OUTSIDE = (
    '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><graphml><graph><node id="n">&f;</node></graph></graphml>'
)


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, '<!DOCTYPE graphml SYSTEM "http://localhost/x.dtd"><graphml/>'])
def test_declarations_that_could_expand_or_read_files_are_refused(data: str) -> None:
    assert "document type declarations are refused" in mistake("graphml", data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("[]", "line 1: '{' is expected"),
        ('{"entities": [{"entity_name": "A"},\n{"description": "d"}]}', "line 2, entities[1]: entity_name is missing"),
        ('{"entities": [\n\n{"entity_name": 5}]}', "line 3, entities[0]: entity_name must be a text"),
        ('{"entities": ["A"]}', "entities[0]: an object is expected"),
        ('{"entities": {}}', "'[' is expected"),
        ('{"entities": [{"entity_name": "A"\n"x"}]}', "line 2: this is not JSON"),
        ('{"entities": []', "line 1: '}' is expected"),
        ('{"entities": [{"entity_name": "A"}', "']' is expected"),
        ('{"entities": []} {}', "nothing may follow"),
        ('{"nodes": []}', "neither a list of entities"),
        ('{"relations": [{"source_entity": "A", "target_entity": "B", "weight": "much"}]}', "weight must be a number"),
        ('{"relations": [{"source_entity": "A", "target_entity": "B", "weight": -1}]}', "weight must be a number"),
        ('{"relations": [{"source_entity": "A", "target_entity": "B", "weight": NaN}]}', "weight must be a number"),
        ('{"relations": [{"source_entity": "A", "target_entity": "a"}]}', "relations[0]: the relation leads from"),
        ('{"entities": [{"entity_name": "\\ud800"}]}', "half of a character"),
        ('{"entities": [{"entity_name": "\\"\\""}]}', "entity_name holds no letter"),
        ('{"entities": [{"entity_name": "a\\u0007"}]}', "entity_name holds a control character"),
        ('{"x": ' + "9" * 5_000 + "}", "number is too long"),
        ('{"x": ' + "[" * 200_000, "nested too deeply"),
        ('{"x": "' + "y" * (MAX_ITEM_CHARS + 2 * PIECE_BYTES), "this is not JSON"),
    ],
)
def test_mistakes_in_json_are_named_with_their_place(data: str, said: str) -> None:
    assert said in mistake("json", data)


def test_json_that_is_not_utf8_is_refused() -> None:
    assert "not UTF-8" in mistake("json", b'{"entities": [{"entity_name": "\xff"}]}')


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name,type\nA,b\n", "line 1: the columns are neither"),
        (b"", "line 1: the columns are neither"),
        (b"entity_name\nA\n\xff\n", "not UTF-8"),
        (b"entity_name\nA\nB,C\n", "line 3: there are more cells than columns"),
        (b'entity_name\n"A', "line 2: unexpected end of data"),
        (b"source_entity,target_entity,weight\nA,B,1\nA,C,x\n", "line 3: weight must be a number"),
        (b"PK\x03\x04rest", "the zip file cannot be read"),
    ],
)
def test_mistakes_in_csv_are_named_with_their_line(data: bytes, said: str) -> None:
    assert said in mistake("csv", data)


def zipped(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(f"folder/{name}.csv", text)
    return data.getvalue()


def test_a_mistake_in_a_zip_names_the_file() -> None:
    good, bad = "entity_name\nA\n", "source_entity,target_entity\nA,\n"
    assert mistake("csv", zipped(entities=good, relations=bad)) == "relations.csv, line 2: target_entity is missing"
    assert "neither entities.csv nor relations.csv" in mistake("csv", zipped(other=good))


def test_a_damaged_zip_is_refused() -> None:
    data = bytearray(zipped(entities="entity_name\n" + "A\n" * 500))
    data[60] ^= 0xFF
    assert "cannot be read" in mistake("csv", bytes(data))
