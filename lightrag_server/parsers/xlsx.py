"""Spreadsheets: a cell whose formula was never computed gets the formula as its text, else it would come out empty."""

from __future__ import annotations

import io
import re
import zipfile
from xml.etree import ElementTree

from lightrag_server.parsers.archives import xml_part

M = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")


def with_formulas(archive: zipfile.ZipFile, data: bytes) -> bytes:
    """The workbook with such cells filled in; `data` itself where there are none."""
    changed = {name: xml for name in archive.namelist() if _SHEET.fullmatch(name) and (xml := _filled(archive, name))}
    if not changed:
        return data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            if not name.startswith("xl/media/"):
                copy.writestr(name, changed.get(name) or archive.read(name))
    return buffer.getvalue()


def _filled(archive: zipfile.ZipFile, name: str) -> bytes | None:
    root = xml_part(archive, name)
    empty = [c for c in root.iter(M + "c") if _is_uncomputed(c)] if root is not None else []
    if root is None or not empty:
        return None
    for cell in empty:
        formula = cell.find(M + "f")
        value = cell.find(M + "v")
        value = ElementTree.SubElement(cell, M + "v") if value is None else value
        value.text = "=" + ((formula.text if formula is not None else None) or "")
        cell.set("t", "str")
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _is_uncomputed(cell: ElementTree.Element) -> bool:
    formula, value = cell.find(M + "f"), cell.find(M + "v")
    return formula is not None and bool(formula.text) and (value is None or not value.text)
