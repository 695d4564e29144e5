from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Callable

import psutil
import pytest

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import TooLarge, UnreadableFile, UnsupportedFile
from lightrag_server.parsers.registry import Parsers
from lightrag_server.settings.ingest import IngestSettings
from tests.parsers import samples
from tests.parsers.samples import docx, paragraph, table

DOCX = docx(paragraph("One", style="Heading1") + paragraph("Text."))
ESCAPED = "AT&amp;T &lt;b&gt; &#20013; x"
PLAIN = "AT&T <b> 中 x"


@pytest.fixture
def parsers() -> Parsers:
    return Parsers(IngestSettings())


def limited(**changes: object) -> Parsers:
    return Parsers(IngestSettings(**changes))  # pyright: ignore[reportArgumentType]


def titles(parsed: ParsedDocument) -> list[tuple[int, str]]:
    for heading in parsed.headings:
        assert parsed.text[heading.start :].startswith("#" * heading.level + f" {heading.title}")
    return [(heading.level, heading.title) for heading in parsed.headings]


def pages(parsed: ParsedDocument) -> dict[int, str]:
    return {page.number: parsed.text[page.start : page.end] for page in parsed.pages}


def children() -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "lightrag_server.parsers.child" in process.cmdline():
                found.append(process)
    return found


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("waited in vain")


# ----------------------------------------------------------------------------- pdf


async def test_a_pdf_gives_text_headings_and_pages(parsers: Parsers) -> None:
    parsed = await parsers.parse(
        "a.pdf", samples.pdf(["# First\nThe fox jumps over the\nlazy dog.", "# Second\nIt sleeps in a caf\xe9."])
    )
    assert titles(parsed) == [(1, "First"), (1, "Second")]
    assert "The fox jumps over the lazy dog." in pages(parsed)[1]
    assert "It sleeps in a café." in pages(parsed)[2]
    assert "Second" not in pages(parsed)[1]
    assert parsed.pages[-1].end == len(parsed.text)


async def test_an_encrypted_pdf_is_named_so(parsers: Parsers) -> None:
    with pytest.raises(UnreadableFile, match=r"^the file 'a\.pdf' is password protected$"):
        await parsers.parse("a.pdf", samples.pdf(["secret"], encrypt=True))


async def test_a_truncated_pdf_is_refused(parsers: Parsers) -> None:
    whole = samples.pdf(["some text"])
    with pytest.raises(UnreadableFile, match=r"is torn, or not what its suffix \.pdf says"):
        await parsers.parse("a.pdf", whole[: len(whole) // 2])


async def test_a_pdf_without_text_is_refused(parsers: Parsers) -> None:
    with pytest.raises(UnreadableFile, match="holds no text"):
        await parsers.parse("scan.pdf", samples.pdf([""]))


async def test_a_pdf_of_too_many_pages_is_refused() -> None:
    with pytest.raises(TooLarge, match="has 4 pages, more than 3"):
        await limited(max_pages=3).parse("a.pdf", samples.pdf(["text"] * 4))


# ----------------------------------------------------------------------------- office


async def test_docx_keeps_headings_lists_tables_and_escaped_characters(parsers: Parsers) -> None:
    body = (
        paragraph("One", style="Heading1")
        + paragraph(ESCAPED)
        + paragraph("first", list_id=1)
        + paragraph("second", list_id=1)
        + paragraph("Two", style="Heading2")
        + paragraph("dot", list_id=2)
        + table([["Name", "Age"], [ESCAPED, "31"]])
    )
    parsed = await parsers.parse("a.docx", docx(body))
    assert parsed.text == (
        f"# One\n\n{PLAIN}\n\n1. first\n2. second\n\n## Two\n\n- dot\n\n| Name | Age |\n| --- | --- |\n| {PLAIN} | 31 |"
    )
    assert titles(parsed) == [(1, "One"), (2, "Two")]


async def test_docx_lists_that_a_style_makes_keep_their_markers(parsers: Parsers) -> None:
    styles = (
        f'{samples.HEAD}<w:styles {samples.W}><w:style w:type="paragraph" w:styleId="LB"><w:name w:val="List Bullet"/>'
        '<w:pPr><w:numPr><w:numId w:val="2"/></w:numPr></w:pPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="LB2"><w:basedOn w:val="LB"/></w:style></w:styles>'
    )
    data = docx(paragraph("a", style="LB") + paragraph("b", style="LB2"), **{"word/styles.xml": styles})
    assert (await parsers.parse("a.docx", data)).text == "- a\n- b"


async def test_docx_runs_breaks_revisions_and_notes(parsers: Parsers) -> None:
    body = (
        '<w:p><w:r><w:t xml:space="preserve">Some </w:t></w:r><w:ins><w:r><w:t>new</w:t></w:r></w:ins>'
        "<w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:br/><w:t>line</w:t>"
        '<w:footnoteReference w:id="2"/></w:r></w:p>'
    )
    relations = (
        f'{samples.HEAD}<Relationships {samples.RELS}><Relationship Id="r" Type="{samples.OFFICE}/footnotes" '
        'Target="footnotes.xml"/></Relationships>'
    )
    notes = (
        f'{samples.HEAD}<w:footnotes {samples.W}><w:footnote w:id="2">{paragraph("Why.")}</w:footnote></w:footnotes>'
    )
    data = docx(body, **{"word/_rels/document.xml.rels": relations, "word/footnotes.xml": notes})
    assert (await parsers.parse("a.docx", data)).text == "Some new\nline\n\n[note] Why."


async def test_pptx_slides_are_pages_and_keep_their_notes(parsers: Parsers) -> None:
    data = samples.pptx([("Deck", ESCAPED, "Remember to smile"), ("End", "Bye", "")])
    parsed = await parsers.parse("a.pptx", data)
    assert titles(parsed) == [(2, "Deck"), (2, "End")]
    assert pages(parsed)[1].split("\n\n")[1:3] == [PLAIN, "Notes: Remember to smile"]
    assert pages(parsed)[2] == "## End\n\nBye"


async def test_xlsx_keeps_sheets_and_formulas_without_a_value(parsers: Parsers) -> None:
    data = samples.xlsx({"Sales": [["Item", ESCAPED], ["Sum", "=SUM(B2:B9)"], ["Known", "=1+1|2"]], "More": [["x"]]})
    parsed = await parsers.parse("a.xlsx", data)
    assert titles(parsed) == [(2, "Sales"), (2, "More")]
    assert f"| Item | {PLAIN} |" in parsed.text
    assert "| Sum | =SUM(B2:B9) |" in parsed.text
    assert "| Known | 2 |" in parsed.text


async def test_odt_is_read(parsers: Parsers) -> None:
    body = f'<text:h text:outline-level="1">Head</text:h><text:p>{ESCAPED}</text:p>'
    parsed = await parsers.parse("a.odt", samples.odt(body))
    assert parsed.text == f"# Head\n\n{PLAIN}"


async def test_ods_is_read(parsers: Parsers) -> None:
    parsed = await parsers.parse("a.ods", samples.ods([["Name", "Age"], [ESCAPED, "31"]]))
    assert titles(parsed) == [(2, "Sheet")]
    assert f"| {PLAIN} | 31 |" in parsed.text


async def test_epub_is_read_in_the_order_of_its_spine(parsers: Parsers) -> None:
    parsed = await parsers.parse("a.epub", samples.epub([("One", "Dark night."), ("Two", ESCAPED)]))
    assert parsed.text == f"# One\n\nDark night.\n\n# Two\n\n{PLAIN}"
    assert titles(parsed) == [(1, "One"), (1, "Two")]


# ----------------------------------------------------------------------------- markup


async def test_rtf_is_read_with_its_accents(parsers: Parsers) -> None:
    data = rb"{\rtf1\ansi\deff0 {\fonttbl{\f0 Times;}}\f0 Caf\'e9 and \u20013? end.\par Second {\b bold} one.\par}"
    assert (await parsers.parse("a.rtf", data)).text == "Café and 中 end.\n\nSecond bold one."


async def test_html_gives_its_main_text_and_no_front_matter(parsers: Parsers) -> None:
    data = (
        b"<html><head><meta name=description content=d><title>My &amp; Title</title></head><body><nav>Menu</nav>"
        b"<h1>Head</h1><p>A &lt;b&gt; para_graph.</p><ul><li>one<li>two</ul><script>evil()</script>"
        b"<table><tr><th>A</th></tr><tr><td>1</td></tr></table>loose words<h2>Sub</h2><p>More</p></body></html>"
    )
    parsed = await parsers.parse("a.html", data)
    assert titles(parsed) == [(1, "My & Title"), (1, "Head"), (2, "Sub")]
    assert "A <b> para_graph." in parsed.text
    assert "- one\n- two" in parsed.text
    assert "loose words" in parsed.text
    assert "evil" not in parsed.text
    assert "description" not in parsed.text


@pytest.mark.parametrize("suffix", ["html", "htm", "xhtml"])
async def test_html_is_read_in_the_charset_it_names(parsers: Parsers, suffix: str) -> None:
    page = '<html><head><meta charset="gb2312"></head><body><p>北京的胡同</p></body></html>'
    assert (await parsers.parse(f"a.{suffix}", page.encode("gbk"))).text == "北京的胡同"


async def test_eml_gives_subject_addresses_body_and_attachment_names(parsers: Parsers) -> None:
    data = (
        b"From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?b?SGVsbG8g5L2g5aW9?=\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        b"<p>Dear Bob &amp; Eve</p><div>see you</div>\r\n--B\r\nContent-Type: text/plain\r\n"
        b"Content-Disposition: attachment; filename=plan.txt\r\n\r\nx\r\n--B--\r\n"
    )
    parsed = await parsers.parse("a.eml", data)
    assert parsed.text == (
        "# Hello 你好\n\nFrom: a@example.org\nTo: b@example.org\n\nDear Bob & Eve\n\nsee you\n\n- attachment: plan.txt"
    )


TEX = (
    r"\documentclass{article} \begin{document} \section{Intro}Hello \textbf{world}, $x^2$. \subsection{Sub} More text."
    r" \begin{itemize}\item One \item Two\end{itemize} Tail. \end{document}"
)


@pytest.mark.parametrize(
    "source", [TEX, TEX.replace(" ", "\n"), TEX.partition("{document}")[2].partition(r"\end{d")[0]]
)
async def test_tex_is_read_however_its_lines_are_broken(parsers: Parsers, source: str) -> None:
    parsed = await parsers.parse("a.tex", source.encode())
    assert titles(parsed) == [(1, "Intro"), (2, "Sub")]
    assert " ".join(parsed.text.split()) == "# Intro Hello world, $x^2$. ## Sub More text. - One - Two Tail."


async def test_a_notebook_is_read(parsers: Parsers) -> None:
    data = (
        b'{"cells":[{"cell_type":"markdown","metadata":{},"source":["# Hi\\n","text"]},{"cell_type":"code",'
        b'"metadata":{},"execution_count":1,"outputs":[],"source":["print(1)"]}],"metadata":{},"nbformat":4,'
        b'"nbformat_minor":5}'
    )
    assert (await parsers.parse("a.ipynb", data)).text == "# Hi\n\ntext\n\n```\nprint(1)\n```"


# ----------------------------------------------------------------------------- hostile files


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx", "odt", "epub"])
async def test_a_torn_archive_is_refused(parsers: Parsers, suffix: str) -> None:
    with pytest.raises(UnreadableFile, match="is torn"):
        await parsers.parse(f"a.{suffix}", DOCX[:-30])


@pytest.mark.parametrize("suffix", ["pdf", "docx", "pptx", "xlsx", "odt", "epub", "eml", "ipynb"])
async def test_another_kind_under_this_suffix_is_refused(parsers: Parsers, suffix: str) -> None:
    with pytest.raises(UnreadableFile, match=f"the file 'a.{suffix}'"):
        await parsers.parse(f"a.{suffix}", b"just text\n")


async def test_an_archive_of_another_kind_is_refused(parsers: Parsers) -> None:
    for suffix in ("docx", "pptx"):
        with pytest.raises(UnreadableFile, match="is not a"):
            await parsers.parse(f"a.{suffix}", samples.zipped({"x": "y"}))


async def test_a_broken_part_of_an_archive_is_named(parsers: Parsers) -> None:
    with pytest.raises(UnreadableFile, match=r"part 'word/document\.xml' cannot be read"):
        await parsers.parse("a.docx", docx("<w:p><w:broken></w:p>"))


async def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = docx(paragraph("x"), **{"word/bomb.xml": bytes(200 * 1024**2)})
    assert len(bomb) < 300_000
    with pytest.raises(TooLarge, match="unpacks to more than"):
        await limited().parse("a.docx", bomb)


@pytest.mark.parametrize("suffix", ["docx", "xlsx", "epub"])
async def test_a_bomb_that_lies_about_its_size_is_refused(suffix: str) -> None:
    bomb = bytearray(samples.zipped({"word/document.xml": bytes(80 * 1024**2)}))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", bomb, bomb.find(signature) + place, 1000)
    assert zipfile.ZipFile(io.BytesIO(bomb)).infolist()[0].file_size == 1000
    with pytest.raises(TooLarge, match="unpacks to more than"):
        await limited().parse(f"a.{suffix}", bytes(bomb))


async def test_an_archive_beyond_the_expansion_limit_is_refused() -> None:
    data = docx(paragraph("word " * 500_000))
    with pytest.raises(TooLarge, match="unpacks to more than 1 MiB"):
        await limited(max_expanded_bytes=1024**2).parse("a.docx", data)


async def test_an_archive_of_very_many_parts_is_refused(parsers: Parsers) -> None:
    with pytest.raises(TooLarge, match="holds 10001 parts"):
        await parsers.parse("a.docx", samples.zipped({str(n): b"" for n in range(10_001)}))


async def test_entities_that_multiply_are_refused(parsers: Parsers) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 100}">' for n in range(10))
    xml = f"<!DOCTYPE x [{entities}]><w:document {samples.W}><w:body>{paragraph('&e9;')}</w:body></w:document>"
    with pytest.raises(UnreadableFile):
        await parsers.parse("a.docx", docx("", **{"word/document.xml": xml}))


async def test_xml_nested_very_deeply_is_refused(parsers: Parsers) -> None:
    body = "<w:sdt>" * 50_000 + "</w:sdt>" * 50_000
    with pytest.raises(UnreadableFile):
        await parsers.parse("a.docx", docx(body))


# ----------------------------------------------------------------------------- the child process


async def test_a_parser_beyond_its_time_is_killed() -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableFile, match=r"took longer than 0\.05 s"):
        await limited(parse_timeout_s=0.05).parse("a.docx", DOCX)
    assert time.monotonic() - started < 5
    assert children() == []


async def test_cancelling_kills_the_child(parsers: Parsers) -> None:
    task = asyncio.create_task(parsers.parse("a.pdf", samples.pdf(["page"] * 2000)))
    await until(lambda: bool(children()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []


async def test_a_child_that_crashes_is_an_unreadable_file(parsers: Parsers) -> None:
    task = asyncio.create_task(parsers.parse("a.pdf", samples.pdf(["page"] * 2000)))
    await until(lambda: bool(children()))
    with contextlib.suppress(ProcessLookupError):
        os.kill(children()[0].pid, signal.SIGSEGV)
    with pytest.raises(UnreadableFile, match="crashed its parser"):
        await task


async def test_a_parser_beyond_its_memory_ends_and_harms_nobody() -> None:
    data = docx("".join(paragraph("word " * 20) for _ in range(100_000)))
    for name, content in (("a.docx", data), ("a.rtf", rb"{\rtf1 text}")):
        with pytest.raises(UnreadableFile, match="PARSE_MEMORY_LIMIT"):
            await limited(parse_memory_bytes=96 * 1024**2).parse(name, content)


async def test_no_more_than_two_children_run_at_once(parsers: Parsers) -> None:
    tasks = [asyncio.create_task(parsers.parse("a.docx", DOCX)) for _ in range(6)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(children()))
        await asyncio.sleep(0.005)
    assert [(await task).text for task in tasks] == ["# One\n\nText."] * 6
    assert 1 <= most <= 2


async def test_text_starts_no_process(parsers: Parsers) -> None:
    seen: list[psutil.Process] = []
    for name in ("a.txt", "a.md", "a.csv", "a.py"):
        await parsers.parse(name, b"text")
        seen += children()
    assert seen == []


PARENT = """
import asyncio
from lightrag_server.parsers.registry import Parsers
from lightrag_server.settings.ingest import IngestSettings
from tests.parsers.samples import pdf

async def main():
    data = pdf(["page of text"] * 5000)
    await Parsers(IngestSettings()).parse("a.pdf", data)

asyncio.run(main())
"""


async def test_the_child_ends_when_its_parent_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT)
    await until(lambda: bool(children()))
    (child,) = children()
    parent.kill()
    await parent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, timeout_s=5)


# ----------------------------------------------------------------------------- without the extra


async def test_without_kreuzberg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, parsers: Parsers) -> None:
    monkeypatch.setitem(sys.modules, "kreuzberg", None)
    with pytest.raises(UnsupportedFile, match="extra `documents`"):
        await parsers.parse("a.pdf", b"%PDF-1.4")
    assert ".pdf" not in parsers.extensions()
    assert (await parsers.parse("a.docx", DOCX)).text == "# One\n\nText."
