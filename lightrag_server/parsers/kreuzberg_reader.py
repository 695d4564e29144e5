"""Formats that kreuzberg reads: its document structure becomes our text. Runs in the child process only.

Structure and not its Markdown, because there the pages of a pdf are known and nothing is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import TooLarge, UnreadableFile
from lightrag_server.parsers.draft import Draft, unwrapped
from lightrag_server.parsers.markdown import read_markdown, unescaped

MIME_TYPES = {
    ".epub": "application/epub+zip",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".pdf": "application/pdf",
    ".rtf": "application/rtf",
    ".tex": "application/x-latex",
    ".xlsm": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_LEAST_SHARE = 0.95
_WORD_CHARACTERS = re.compile(r"\w")
Node = Mapping[str, Any]


def read_with_kreuzberg(suffix: str, data: bytes, max_pages: int) -> ParsedDocument:
    """Messages of errors begin with a verb: the caller puts the file's name in front."""
    result = _extract(suffix, data)
    number = int((result.metadata.get("pages") or {}).get("total_count") or 0)
    if number > max_pages:
        raise TooLarge(f"has {number} pages, more than {max_pages}")
    nodes: Sequence[Node] = (result.document or {}).get("nodes") or ()
    parsed = _from_nodes(nodes, suffix).parsed(suffix[1:])
    if _letters(parsed.text) >= _LEAST_SHARE * _letters(result.content):
        return parsed
    return markdown_of(result.content, suffix[1:])


def html_to_markdown(html: str) -> str:
    """The text of a page; its structure tree leaves out what stands outside of paragraphs."""
    return unescaped(_extract(".html", html.encode("utf-8", "replace")).content)


def markdown_of(content: str, format: str) -> ParsedDocument:
    """A document from kreuzberg's Markdown, in which punctuation is escaped."""
    return read_markdown(unescaped(content), format)


def _extract(suffix: str, data: bytes) -> Any:
    from kreuzberg import ConcurrencyConfig, ExtractionConfig, PageConfig, TreeSitterConfig, extract_bytes_sync
    from kreuzberg.exceptions import KreuzbergError

    config = ExtractionConfig(
        output_format="markdown",
        use_cache=False,
        enable_quality_processing=False,
        include_document_structure=suffix != ".html",
        pages=PageConfig(extract_pages=suffix == ".pdf"),
        concurrency=ConcurrencyConfig(max_threads=1),
        tree_sitter=TreeSitterConfig(enabled=False),
    )
    try:
        return extract_bytes_sync(data, MIME_TYPES[suffix], config=config)
    except KreuzbergError as error:
        if "password" in str(error).lower() or "encrypt" in str(error).lower():
            raise UnreadableFile("is password protected") from error
        raise UnreadableFile(f"is torn, or not what its suffix {suffix} says") from error


def _from_nodes(nodes: Sequence[Node], suffix: str) -> Draft:
    draft = Draft()
    counters: dict[int, int] = {}
    for node in nodes:
        if suffix == ".pdf" and node.get("page"):
            draft.page(int(node["page"]))
        if node["content"]["node_type"] == "list_item":
            parent = node.get("parent")
            is_ordered = parent is not None and nodes[parent]["content"].get("ordered")
            counters[parent or 0] = counters.get(parent or 0, 0) + 1
            draft.item(_plain(node, suffix), f"{counters[parent or 0]}." if is_ordered else "-", _depth(nodes, node))
        else:
            _write(draft, node, suffix)
    return draft


def _write(draft: Draft, node: Node, suffix: str) -> None:
    content = node["content"]
    match content["node_type"]:
        case "heading" | "title":
            draft.heading(int(content.get("level") or 1), content["text"])
        case "table":
            draft.table(_rows(content["grid"]))
        case "metadata_block":
            draft.paragraph("\n".join(f"{key}: {value}" for key, value in content["entries"]))
        case "footnote":
            draft.paragraph(f"[note] {_plain(node, suffix)}")
        case "code":
            draft.paragraph(f"```\n{content['text']}\n```")
        case "formula":
            draft.paragraph(content["text"])
        case _:
            draft.paragraph(_plain(node, suffix))


def _plain(node: Node, suffix: str) -> str:
    text = str(node["content"].get("text") or "")
    return unwrapped(text) if suffix in (".pdf", ".tex") else text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(grid: Mapping[str, Any]) -> list[list[str]]:
    rows = [[""] * grid["cols"] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        if cell["row"] < grid["rows"] and cell["col"] < grid["cols"]:
            rows[cell["row"]][cell["col"]] = cell["content"]
    return rows


def _depth(nodes: Sequence[Node], node: Node) -> int:
    """How many lists lie around that of the item."""
    depth, parent = -1, node.get("parent")
    while parent is not None:
        depth += nodes[parent]["content"]["node_type"] == "list"
        parent = nodes[parent].get("parent")
    return max(depth, 0)


def _letters(text: str) -> int:
    return sum(1 for _ in _WORD_CHARACTERS.finditer(text))
