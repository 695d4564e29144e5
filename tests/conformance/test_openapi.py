"""Whatever LightRAG 1.5.7 documents exists here: path, method, parameter, field, type, enum value, default and limit.

Ours may have more, and may ask for less. Where they differ on purpose the difference is listed below with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from lightrag_server.api.app import create_app
from lightrag_server.settings.loader import load
from tests.conformance.facts import Schema, choices, lightrag, operations, resolved
from tests.server import FAKE

THEIRS = lightrag()
OPERATIONS = [(method, path) for method, path, _ in operations(THEIRS)]
CODE = "LightRAG's code asks for it, its document does not say so"
DIFFERENT = {
    "query api_key_header_value": "documented by LightRAG only where no key is set, and read nowhere",
    "InsertResponse.status: ['duplicated']": "the answer to a known file or text, as the user's description has it",
    "QueryResponse.references[].content: null": "LightRAG answers null there, and says so in another place",
    "QueryResponse.references: null": "LightRAG answers null where references were not asked for",
    "QueryDataResponse.data.entities[].reference_id": "never sent by LightRAG either",
    "QueryDataResponse.data.relationships[].reference_id": "never sent by LightRAG either",
    "body.doc_ids: minItems 1": CODE,
    "body.doc_ids[]: minLength 1": CODE,
    "body.texts[]: minLength 1": CODE,
    "body.hl_keywords[]: maxLength 512": CODE,
    "body.ll_keywords[]: maxLength 512": CODE,
    "body.conversation_history: maxItems 128": CODE,
    "body.conversation_history[].role is required": CODE,
    "body.conversation_history[].content is required": CODE,
}
"""Beginnings of what the walk below finds, and why it is meant to be so."""
LEAST = ("minLength", "minimum", "minItems")
MOST = ("maxLength", "maximum", "maxItems")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return create_app(load([], environ=FAKE, start_dir=tmp_path_factory.mktemp("app"))).openapi()


def operation_of(document: Schema, method: str, path: str) -> Schema:
    return document["paths"][path][method.lower()]


def test_every_operation_of_lightrag_is_served(ours: Schema) -> None:
    assert len(OPERATIONS) == 45
    served = {(method, path) for method, path, _ in operations(ours)}
    assert [operation for operation in OPERATIONS if operation not in served] == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_parameters(ours: Schema, method: str, path: str) -> None:
    known = parameters(operation_of(ours, method, path))
    problems: list[str] = []
    for name, theirs in parameters(operation_of(THEIRS, method, path)).items():
        if name not in known:
            problems.append(f"{name} is missing")
            continue
        problems += accepts(known[name]["schema"], theirs["schema"], ours, name)
        if known[name].get("required", False) and not theirs.get("required", False):
            problems.append(f"{name} is required")
    assert unexplained(problems) == []


def parameters(operation: Schema) -> dict[str, Schema]:
    return {f"{p['in']} {p['name']}": p for p in operation.get("parameters", ())}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_request_bodies(ours: Schema, method: str, path: str) -> None:
    theirs = contents(operation_of(THEIRS, method, path).get("requestBody", {}))
    known = contents(operation_of(ours, method, path).get("requestBody", {}))
    assert set(theirs) <= set(known)
    for kind, schema in theirs.items():
        assert accepts(known[kind], schema, ours, "body") == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_responses(ours: Schema, method: str, path: str) -> None:
    theirs = contents(operation_of(THEIRS, method, path)["responses"]["200"])
    known = contents(operation_of(ours, method, path)["responses"]["200"])
    assert set(theirs) <= set(known) or path in ("/query/stream", "/")
    for kind, schema in theirs.items():
        if kind in known and schema:
            assert tells(known[kind], schema, ours, resolved_name(schema)) == []


def unexplained(problems: Iterable[str]) -> list[str]:
    return [problem for problem in problems if not problem.startswith(tuple(DIFFERENT))]


def contents(holder: Schema) -> dict[str, Schema]:
    return {kind: media.get("schema", {}) for kind, media in holder.get("content", {}).items()}


def resolved_name(schema: Schema) -> str:
    return schema.get("$ref", "answer").rpartition("/")[2]


# ----------------------------------------------------------------------------- what we accept


def accepts(ours: Schema, theirs: Schema, document: Schema, at: str) -> list[str]:
    """In what way our schema of a request refuses what theirs allows, or fills in something else."""
    mine, wanted = resolved(ours, document), resolved(theirs, THEIRS)
    problems: list[str] = []
    if "default" in wanted and mine.get("default") != wanted["default"]:
        problems.append(f"{at}: default {mine.get('default')!r} instead of {wanted['default']!r}")
    for choice in choices(theirs, THEIRS):
        tries = [unexplained(refusals(own, choice, document, at)) for own in choices(ours, document)]
        problems += min(tries, key=len)
    return problems


def refusals(mine: Schema, wanted: Schema, document: Schema, at: str) -> Iterator[str]:
    if "type" in mine and mine["type"] != wanted.get("type"):
        yield f"{at}: {mine['type']} instead of {wanted.get('type')}"
        return
    if "enum" in mine and (missing := set(wanted.get("enum", ("any text",))) - set(mine["enum"])):
        yield f"{at}: the values {sorted(missing)} are missing"
    yield from narrower(mine, wanted, at)
    if "items" in wanted:
        yield from accepts(mine.get("items", {}), wanted["items"], document, f"{at}[]")
    for name, field in wanted.get("properties", {}).items():
        if name not in mine.get("properties", {}):
            yield f"{at}.{name} is missing"
        else:
            yield from accepts(mine["properties"][name], field, document, f"{at}.{name}")
    yield from (f"{at}.{name} is required" for name in sorted(set(mine.get("required", ())) - required(wanted)))


def narrower(mine: Schema, wanted: Schema, at: str) -> Iterator[str]:
    for word in LEAST:
        if mine.get(word, 0) > wanted.get(word, 0):
            yield f"{at}: {word} {mine[word]} instead of {wanted.get(word)}"
    for word in MOST:
        if word in mine and mine[word] < wanted.get(word, float("inf")):
            yield f"{at}: {word} {mine[word]} instead of {wanted.get(word)}"


def required(schema: Schema) -> set[str]:
    return set(schema.get("required", ()))


# ----------------------------------------------------------------------------- what we answer


def tells(ours: Schema, theirs: Schema, document: Schema, at: str) -> list[str]:
    """What their answers tell and ours would not, or in another form. Of several objects of ours the fullest counts."""
    found: dict[str, list[str]] = {}
    for own in choices(ours, document):
        tries = [unexplained(surprises(own, choice, document, at)) for choice in choices(theirs, THEIRS)]
        kind = str(own.get("type"))
        found[kind] = min(found.get(kind, tries[0]), *tries, key=len)
    return [problem for problems in found.values() for problem in problems]


def surprises(mine: Schema, known: Schema, document: Schema, at: str) -> Iterator[str]:
    if "type" in known and mine.get("type") != known["type"]:
        yield f"{at}: {mine.get('type')} instead of {known['type']}"
        return
    if "enum" in known and (odd := set(mine.get("enum", ("any text",))) - set(known["enum"])):
        yield f"{at}: {sorted(odd)} are unknown to their clients"
    if "items" in known:
        yield from tells(mine.get("items", {}), known["items"], document, f"{at}[]")
    for name, field in known.get("properties", {}).items():
        if name not in mine.get("properties", {}):
            yield f"{at}.{name} is missing"
        else:
            yield from tells(mine["properties"][name], field, document, f"{at}.{name}")
    yield from (f"{at}.{name} may be absent" for name in sorted(required(known) - required(mine)))
