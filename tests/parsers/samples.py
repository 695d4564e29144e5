"""Small real files, made by hand: nothing but the standard library, so that the bytes are known."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
RELS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
CONTENT_TYPES = 'xmlns="http://schemas.openxmlformats.org/package/2006/content-types"'
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def zipped(files: Mapping[str, str | bytes], *, stored_first: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, content) in enumerate(files.items()):
            method = zipfile.ZIP_STORED if stored_first and index == 0 else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, compress_type=method)
    return buffer.getvalue()


# ----------------------------------------------------------------------------- pdf


def pdf(pages: list[str], *, encrypt: bool = False) -> bytes:
    """One line of text per line of each page; Helvetica, WinAnsi."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, page in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        stream = _page_stream(page)
        objects.append(f"<< /Length {len(stream.encode('latin-1'))} >>\nstream\n{stream}\nendstream")
    if encrypt:
        key = "00" * 32
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >>")
    return _pdf_file(objects, encrypt=encrypt)


def _page_stream(page: str) -> str:
    lines = ["BT", "14 TL", "72 770 Td"]
    for line in page.split("\n"):
        size = 24 if line.startswith("# ") else 11
        text = line.removeprefix("# ").replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        lines.append(f"/F1 {size} Tf {size * 1.3} TL ({text}) Tj T*")
    return "\n".join([*lines, "ET"])


def _pdf_file(objects: list[str], *, encrypt: bool) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    xref = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    extra = f" /Encrypt {len(objects)} 0 R /ID [<{'ab' * 16}> <{'ab' * 16}>]" if encrypt else ""
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R{extra} >>\nstartxref\n{xref}\n%%EOF\n".encode()
    return bytes(out)


# ----------------------------------------------------------------------------- office


def docx(body: str, **more: str | bytes) -> bytes:
    """`body` is the inside of w:body; `more` are further parts by name."""
    return zipped(
        {
            "[Content_Types].xml": HEAD + f"<Types {CONTENT_TYPES}>"
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            '<Override PartName="/word/document.xml" ContentType='
            '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
            "_rels/.rels": HEAD + f"<Relationships {RELS}>"
            f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": HEAD + f"<Relationships {RELS}>"
            f'<Relationship Id="rId1" Type="{OFFICE}/styles" Target="styles.xml"/>'
            f'<Relationship Id="rId2" Type="{OFFICE}/numbering" Target="numbering.xml"/></Relationships>',
            "word/styles.xml": HEAD + f"<w:styles {W}>"
            '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>'
            '<w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>'
            '<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/>'
            '<w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>',
            "word/numbering.xml": HEAD + f"<w:numbering {W}>"
            '<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/>'
            '<w:lvlText w:val="%1."/></w:lvl></w:abstractNum>'
            '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="•"/>'
            '</w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
            '<w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num></w:numbering>',
            "word/document.xml": HEAD + f"<w:document {W}><w:body>{body}</w:body></w:document>",
            **more,
        }
    )


def paragraph(text: str, *, style: str = "", list_id: int = 0) -> str:
    style_xml = f'<w:pStyle w:val="{style}"/>' if style else ""
    list_xml = f'<w:numPr><w:ilvl w:val="0"/><w:numId w:val="{list_id}"/></w:numPr>' if list_id else ""
    return f"<w:p><w:pPr>{style_xml}{list_xml}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def table(rows: list[list[str]]) -> str:
    body = "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(c)}</w:tc>" for c in row) + "</w:tr>" for row in rows)
    return f"<w:tbl>{body}</w:tbl>"


def pptx(slides: list[tuple[str, str, str]]) -> bytes:
    """Slides of (title, body, speaker notes)."""
    numbers = range(1, len(slides) + 1)
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": HEAD + f"<Types {CONTENT_TYPES}>"
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/ppt/presentation.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"/></Types>',
        "_rels/.rels": HEAD + f"<Relationships {RELS}>"
        f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="ppt/presentation.xml"/></Relationships>',
        "ppt/presentation.xml": HEAD
        + f"<p:presentation {P} {R}><p:sldIdLst>"
        + "".join(f'<p:sldId id="{255 + n}" r:id="rId{n}"/>' for n in numbers)
        + "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": HEAD
        + f"<Relationships {RELS}>"
        + "".join(f'<Relationship Id="rId{n}" Type="{OFFICE}/slide" Target="slides/slide{n}.xml"/>' for n in numbers)
        + "</Relationships>",
    }
    for number, (title, body, notes) in enumerate(slides, start=1):
        files[f"ppt/slides/slide{number}.xml"] = _slide("sld", [("title", title), ("body", body)])
        if notes:
            files[f"ppt/slides/_rels/slide{number}.xml.rels"] = (
                HEAD + f'<Relationships {RELS}><Relationship Id="rId1" Type="{OFFICE}/notesSlide" '
                f'Target="../notesSlides/notesSlide{number}.xml"/></Relationships>'
            )
            files[f"ppt/notesSlides/notesSlide{number}.xml"] = _slide("notes", [("body", notes), ("sldNum", "7")])
    return zipped(files)


def _slide(root: str, shapes: list[tuple[str, str]]) -> str:
    body = "".join(
        f'<p:sp><p:nvSpPr><p:cNvPr id="{i}" name="s{i}"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        f"<p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        for i, (kind, text) in enumerate(shapes, start=2)
    )
    return HEAD + f"<p:{root} {P} {A} {R}><p:cSld><p:spTree>{body}</p:spTree></p:cSld></p:{root}>"


def xlsx(sheets: dict[str, list[list[str]]]) -> bytes:
    """A cell that begins with = is a formula without a cached value; with =…|v its value is v."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": HEAD + f"<Types {CONTENT_TYPES}>"
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": HEAD + f"<Relationships {RELS}>"
        f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": HEAD
        + f"<workbook {main} {R}><sheets>"
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": HEAD
        + f"<Relationships {RELS}>"
        + "".join(
            f'<Relationship Id="rId{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        + "</Relationships>",
    }
    for number, rows in enumerate(sheets.values(), start=1):
        body = "".join(
            f'<row r="{r}">' + "".join(_cell(f"{chr(64 + c)}{r}", value) for c, value in enumerate(row, 1)) + "</row>"
            for r, row in enumerate(rows, 1)
        )
        files[f"xl/worksheets/sheet{number}.xml"] = (
            HEAD + f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
        )
    return zipped(files)


def _cell(place: str, value: str) -> str:
    if value.startswith("="):
        formula, _, cached = value[1:].partition("|")
        return f'<c r="{place}"><f>{formula}</f>{f"<v>{cached}</v>" if cached else ""}</c>'
    if value.replace(".", "").isdigit():
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'


def odt(body: str) -> bytes:
    return _open_document("text", body)


def ods(rows: list[list[str]]) -> bytes:
    cells = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>' for value in row
        )
        + "</table:table-row>"
        for row in rows
    )
    return _open_document("spreadsheet", f'<table:table table:name="Sheet">{cells}</table:table>')


def _open_document(kind: str, body: str) -> bytes:
    names = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "text", "table"))
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": HEAD + f"<office:document-content {names}><office:body><office:{kind}>{body}"
            f"</office:{kind}></office:body></office:document-content>",
            "META-INF/manifest.xml": HEAD
            + '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
            '<manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="application/vnd.oasis.opendocument.{kind}"/>'
            '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
            "</manifest:manifest>",
        },
        stored_first=True,
    )


def epub(chapters: list[tuple[str, str]]) -> bytes:
    """Chapters of (title, paragraph)."""
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    files: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<?xml version="1.0"?><container version="1.0" '
        'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "book.opf": '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book</dc:title>'
        '<dc:identifier id="i">x</dc:identifier><dc:language>en</dc:language></metadata>'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
    }
    for number, (title, text) in enumerate(chapters):
        files[f"c{number}.xhtml"] = (
            '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head>'
            f"<body><h1>{title}</h1><p>{text}</p></body></html>"
        )
    return zipped(files, stored_first=True)
