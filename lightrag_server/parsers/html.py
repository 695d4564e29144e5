"""Web pages, through kreuzberg's Markdown."""

from __future__ import annotations

import html
import re

from lightrag_server.core.records import ParsedDocument
from lightrag_server.parsers.draft import single_line
from lightrag_server.parsers.encoding import decoded
from lightrag_server.parsers.kreuzberg_reader import html_to_markdown
from lightrag_server.parsers.markdown import read_markdown

_CHARSET = re.compile(rb"""<meta\b[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title\s*>", re.IGNORECASE | re.DOTALL)
_META = re.compile(r"<meta\b[^>]*>", re.IGNORECASE)
_HEAD_BYTES = 4096


def read_html(data: bytes) -> ParsedDocument:
    """The main text; a title that the text does not repeat becomes its first heading.

    Title and meta elements are taken out beforehand: kreuzberg 4.10 makes a second heading of them.
    """
    page = _decoded(data)
    title = _TITLE.search(page)
    text = html_to_markdown(_META.sub("", _TITLE.sub("", page))).strip()
    name = single_line(html.unescape(title[1])) if title else ""
    if text and name and name not in text[: len(name) + 200]:
        text = f"# {name}\n\n{text}"
    return read_markdown(text, "html")


def _decoded(data: bytes) -> str:
    """By the charset that the page names, where its bytes agree with it."""
    named = _CHARSET.search(data[:_HEAD_BYTES])
    if named:
        name = named[1].decode("ascii").lower()
        try:
            return data.decode("gb18030" if name in ("gb2312", "gbk") else name)
        except (UnicodeDecodeError, LookupError):
            pass
    return decoded(data)
