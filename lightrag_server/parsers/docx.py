"""Word documents, read from their XML.

An own reader, because kreuzberg 4.10 loses every character that XML escapes (AT&T becomes ATT) and the markers of
lists that a style makes.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from xml.etree.ElementTree import Element

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import UnreadableFile
from lightrag_server.parsers.archives import related, xml_part
from lightrag_server.parsers.draft import Draft

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING_NAME = re.compile(r"heading ([1-9])|title", re.IGNORECASE)
_SKIPPED = {W + "del", W + "moveFrom", W + "pPr", W + "rPr", _ALTERNATIVE}
_BREAKS = {W + "tab": "\t", W + "br": "\n", W + "cr": "\n", W + "noBreakHyphen": "-"}


@dataclass(frozen=True, slots=True)
class _Style:
    level: int | None
    """Heading level from 1."""
    numbering: tuple[str, int] | None
    """Number id and list depth."""


@dataclass(frozen=True, slots=True)
class _Parts:
    styles: dict[str, Element]
    formats: dict[tuple[str, int], str]
    """Number format by number id and depth."""
    notes: dict[tuple[str, str], Element]


def read_docx(archive: zipfile.ZipFile) -> ParsedDocument:
    """Headings, paragraphs, lists, tables, foot- and endnotes; deleted revisions, headers and footers are left out."""
    main = next((t for kind, t in related(archive, "").values() if kind == "officeDocument"), "word/document.xml")
    root = xml_part(archive, main)
    body = root.find(W + "body") if root is not None else None
    if body is None:
        raise UnreadableFile("is not a Word document")
    writer = _Writer(_read_parts(archive, main))
    writer.blocks(body)
    return writer.draft.parsed("docx")


class _Writer:
    def __init__(self, parts: _Parts) -> None:
        self.draft = Draft()
        self._parts = parts
        self._counters: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._style = cache(self._find_style)

    def blocks(self, parent: Element) -> None:
        for element in parent:
            if element.tag == W + "p":
                self._paragraph(element)
            elif element.tag == W + "tbl":
                rows = element.findall(W + "tr") or element.iter(W + "tr")
                self.draft.table(
                    [[_text(cell) for cell in row.findall(W + "tc") or row.iter(W + "tc")] for row in rows]
                )
            elif element.tag not in _SKIPPED:
                self.blocks(element)  # content controls, inserted revisions

    def _paragraph(self, element: Element) -> None:
        text = _text(element)
        style = self._style(_value(element.find(f"{W}pPr/{W}pStyle")) or "")
        level = _outline(element.find(f"{W}pPr/{W}outlineLvl")) or style.level
        numbering = _numbering(element.find(f"{W}pPr/{W}numPr")) or style.numbering
        if level is not None:
            self.draft.heading(level, text)
        elif numbering and text.strip() and numbering[0] != "0":
            self.draft.item(text, self._marker(*numbering), numbering[1])
        else:
            self.draft.paragraph(text)
        for note in self._notes(element):
            self.draft.paragraph(f"[note] {note}")

    def _marker(self, number_id: str, depth: int) -> str:
        if self._parts.formats.get((number_id, depth), "bullet") in ("bullet", "none"):
            return "-"
        self._counters[number_id, depth] += 1
        for place in [p for p in self._counters if p[0] == number_id and p[1] > depth]:
            del self._counters[place]
        return f"{self._counters[number_id, depth]}."

    def _notes(self, element: Element) -> list[str]:
        found: list[str] = []
        for kind in ("footnote", "endnote"):
            for reference in element.iter(f"{W}{kind}Reference"):
                note = self._parts.notes.get((kind, reference.get(W + "id", "")))
                if note is not None:
                    found.append(_text(note).strip())
        return found

    def _find_style(self, style_id: str) -> _Style:
        """Own properties of a style, else those of the styles it is based on."""
        level: int | None = None
        numbering: tuple[str, int] | None = None
        seen: set[str] = set()
        while (style := self._parts.styles.get(style_id)) is not None and style_id not in seen:
            seen.add(style_id)
            named = _HEADING_NAME.fullmatch(_value(style.find(W + "name")) or "")
            level = level or (int(named[1] or 1) if named else _outline(style.find(f"{W}pPr/{W}outlineLvl")))
            numbering = numbering or _numbering(style.find(f"{W}pPr/{W}numPr"))
            style_id = _value(style.find(W + "basedOn")) or ""
        return _Style(level, numbering)


def _read_parts(archive: zipfile.ZipFile, main: str) -> _Parts:
    by_kind = {kind: xml_part(archive, target) for kind, target in related(archive, main).values() if kind != "image"}
    styles = by_kind.get("styles")
    notes: dict[tuple[str, str], Element] = {}
    for kind in ("footnote", "endnote"):
        root = by_kind.get(f"{kind}s")
        for note in root.iter(W + kind) if root is not None else ():
            if note.get(W + "type", "normal") == "normal":
                notes[kind, note.get(W + "id", "")] = note
    return _Parts(
        {s.get(W + "styleId", ""): s for s in styles.iter(W + "style")} if styles is not None else {},
        _number_formats(by_kind.get("numbering")),
        notes,
    )


def _number_formats(root: Element | None) -> dict[tuple[str, int], str]:
    if root is None:
        return {}
    abstract = {a.get(W + "abstractNumId", ""): a for a in root.iter(W + "abstractNum")}
    formats: dict[tuple[str, int], str] = {}
    for number in root.iter(W + "num"):
        definition = abstract.get(_value(number.find(W + "abstractNumId")) or "")
        for level in definition.iter(W + "lvl") if definition is not None else ():
            depth = int(level.get(W + "ilvl", "0"))
            formats[number.get(W + "numId", ""), depth] = _value(level.find(W + "numFmt")) or "decimal"
    return formats


def _text(element: Element) -> str:
    """All visible text; paragraphs inside (of cells, notes, text boxes) on lines of their own."""
    parts: list[str] = []
    for child in element:
        if child.tag in _SKIPPED:
            continue
        if child.tag == W + "t" or child.tag == _MATH_TEXT:
            parts.append(child.text or "")
        elif child.tag in _BREAKS:
            parts.append(_BREAKS[child.tag])
        else:
            inner = _text(child)
            parts.append(f"{inner}\n" if child.tag == W + "p" and inner else inner)
    return "".join(parts)


def _value(element: Element | None) -> str | None:
    return element.get(W + "val") if element is not None else None


def _outline(element: Element | None) -> int | None:
    value = _value(element)
    return int(value) + 1 if value and value.isdigit() and int(value) < 9 else None


def _numbering(element: Element | None) -> tuple[str, int] | None:
    if element is None:
        return None
    depth = _value(element.find(W + "ilvl")) or "0"
    return _value(element.find(W + "numId")) or "0", min(int(depth), 8) if depth.isdigit() else 0
