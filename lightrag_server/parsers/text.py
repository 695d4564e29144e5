"""Text and source code, read in this process: no parser can be attacked through them."""

from __future__ import annotations

from lightrag_server.core.records import PageSpan, ParsedDocument
from lightrag_server.errors import UnreadableFile
from lightrag_server.parsers.encoding import decoded
from lightrag_server.parsers.markdown import read_markdown
from lightrag_server.parsers.plain_headings import plain_headings

MARKDOWN_SUFFIXES = frozenset({".md", ".mdx", ".markdown", ".rst"})
PROSE_SUFFIXES = frozenset({".txt", ".text", ".asc", ".adoc", ".org"})
SOURCE_SUFFIXES = frozenset(
    {
        *(".bat", ".c", ".cc", ".cfg", ".conf", ".cpp", ".cs", ".css", ".csv", ".go", ".h", ".hpp", ".ini", ".java"),
        *(".js", ".json", ".jsonl", ".jsx", ".kt", ".less", ".log", ".lua", ".php", ".pl", ".properties", ".proto"),
        *(".ps1", ".py", ".r", ".rb", ".rs", ".scala", ".scss", ".sh", ".sql", ".swift", ".toml", ".ts", ".tsv"),
        *(".tsx", ".vue", ".xml", ".yaml", ".yml"),
    }
)
SUFFIXES = MARKDOWN_SUFFIXES | PROSE_SUFFIXES | SOURCE_SUFFIXES

_LONGEST_PAGE_CHARS = 20_000


def read_text(suffix: str, data: bytes) -> ParsedDocument:
    """The text of a file as it is, with the headings and pages it shows.

    Raises `UnreadableFile` for an empty file and for what is no text; messages begin with a verb.
    """
    text = decoded(data) if data else ""
    if not text.strip():
        raise UnreadableFile("is empty")
    if suffix in MARKDOWN_SUFFIXES:
        return read_markdown(text)
    if suffix in PROSE_SUFFIXES:
        return ParsedDocument(text, _pages(text), plain_headings(text))
    return ParsedDocument(text, format=suffix[1:])


def _pages(text: str) -> tuple[PageSpan, ...]:
    """Form feeds end pages, unless what lies between them is too long for one."""
    pages = text.split("\f")
    if len(pages) == 1 or max(map(len, pages)) > _LONGEST_PAGE_CHARS:
        return ()
    spans: list[PageSpan] = []
    start = 0
    for number, page in enumerate(pages, start=1):
        end = min(start + len(page) + 1, len(text))
        if start < end:
            spans.append(PageSpan(number, start, end))
        start = end
    return tuple(spans)
