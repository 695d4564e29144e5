"""Presentations, read from their XML: slides are pages, and speaker notes are kept, which kreuzberg 4.10 drops."""

from __future__ import annotations

import zipfile
from xml.etree.ElementTree import Element

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import UnreadableFile
from lightrag_server.parsers.archives import related, xml_part
from lightrag_server.parsers.draft import Draft

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("sldNum", "dt", "ftr", "hdr", "sldImg")


def read_pptx(archive: zipfile.ZipFile) -> ParsedDocument:
    """Titles as headings, text, tables and notes of all slides in their order."""
    draft = Draft()
    for number, slide in enumerate(_slides(archive), start=1):
        root = xml_part(archive, slide)
        if root is None:
            continue
        draft.page(number)
        _shapes(draft, root)
        for kind, target in related(archive, slide).values():
            notes = xml_part(archive, target) if kind == "notesSlide" else None
            text = "\n".join(_shape_texts(notes)) if notes is not None else ""
            if text.strip():
                draft.paragraph(f"Notes: {text}")
    return draft.parsed("pptx")


def _slides(archive: zipfile.ZipFile) -> list[str]:
    """Part names of the slides in the order of the presentation."""
    main = next((t for kind, t in related(archive, "").values() if kind == "officeDocument"), "ppt/presentation.xml")
    root = xml_part(archive, main)
    if root is None:
        raise UnreadableFile("is not a presentation")
    targets = related(archive, main)
    ids = [slide.get(_RELATION_ID, "") for slide in root.iter(P + "sldId")]
    return [targets[i][1] for i in ids if i in targets]


def _shapes(draft: Draft, parent: Element) -> None:
    for element in parent:
        if element.tag == P + "sp":
            _shape(draft, element)
        elif element.tag == A + "tbl":
            rows = element.iter(A + "tr")
            draft.table([["\n".join(_paragraphs(cell)) for cell in row.iter(A + "tc")] for row in rows])
        elif element.tag != _FALLBACK:
            _shapes(draft, element)


def _shape(draft: Draft, shape: Element) -> None:
    kind = _placeholder(shape)
    if kind in _TITLES:
        draft.heading(2, " ".join(_paragraphs(shape)))
    elif kind not in _FURNITURE:
        draft.paragraph("\n".join(_paragraphs(shape)))


def _shape_texts(root: Element) -> list[str]:
    shapes = [shape for shape in root.iter(P + "sp") if _placeholder(shape) not in _FURNITURE]
    return [line for shape in shapes for line in _paragraphs(shape)]


def _placeholder(shape: Element) -> str:
    found = shape.find(f"{P}nvSpPr/{P}nvPr/{P}ph")
    return found.get("type", "body") if found is not None else ""


def _paragraphs(element: Element) -> list[str]:
    """Lines of text that are not empty."""
    lines: list[str] = []
    for paragraph in element.iter(A + "p"):
        parts = ["\n" if node.tag == A + "br" else node.text or "" for node in paragraph.iter() if node.tag in _RUNS]
        lines.append("".join(parts))
    return [line for line in lines if line.strip()]


_RUNS = (A + "t", A + "br")
