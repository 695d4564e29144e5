"""The interface of LightRAG 1.5.7 as facts: paths, names, types, enums, defaults, limits and what is required.

`lightrag-1.5.7.json` was made from the `openapi.json` of a running LightRAG server, without any of its sentences:
`python -m tests.conformance.facts openapi.json > tests/conformance/lightrag-1.5.7.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("lightrag-1.5.7.json")
PROSE = frozenset({"title", "description", "summary", "example", "examples", "operationId", "tags", "info", "security"})
NAMED = frozenset({"properties", "schemas", "paths", "responses", "content", "securitySchemes"})
"""Objects whose keys are names, not keywords."""

Schema = dict[str, Any]


def stripped(value: Any, *, are_names: bool = False) -> Any:
    """The structure without prose. Extensions (`x-…`) go too."""
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = value if are_names else {k: v for k, v in value.items() if k not in PROSE and not k.startswith("x-")}
    return {k: stripped(v, are_names=not are_names and k in NAMED) for k, v in kept.items()}


def lightrag() -> Schema:
    return json.loads(FILE.read_text(encoding="utf-8"))


def operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    """(method, path, operation)."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(schema: Schema, document: Schema) -> Schema:
    """The schema with its reference followed; keywords beside a reference win, properties are taken together."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target = document
    for name in reference.removeprefix("#/").split("/"):
        target = target[name]
    base = resolved(target, document)
    beside = {k: v for k, v in schema.items() if k != "$ref"}
    if "properties" in base and "properties" in beside:
        beside["properties"] = base["properties"] | beside["properties"]
    return base | beside


def choices(schema: Schema, document: Schema) -> list[Schema]:
    """The alternatives of a schema; one that has none is its own."""
    schema = resolved(schema, document)
    found = schema.get("anyOf") or schema.get("oneOf")
    return [c for item in found for c in choices(item, document)] if found else [schema]


def inlined(schema: Any, document: Schema) -> Any:
    """The schema with every reference followed, fit for a validator. No schema here contains itself."""
    if isinstance(schema, list):
        return [inlined(item, document) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: inlined(v, document) for k, v in resolved(schema, document).items()}


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    json.dump(stripped(document), sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
