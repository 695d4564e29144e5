"""What is said when the documents do not answer: plainly, in the language of the question, English or Chinese."""

from __future__ import annotations

from lightrag_server.core.records import Context
from lightrag_server.core.sufficiency import is_chinese

MARK = "[no-context]"
"""Ends the sentence, as clients of LightRAG look for it."""
_ENGLISH = "The documents hold nothing that answers this question."
_CHINESE = "文档中没有能够回答这个问题的内容。"


def nothing_found(question: str) -> str:
    return f"{_sentence(question)} {MARK}"


def weak(question: str, context: Context) -> str:
    """The same, with the place that comes nearest, which is named and not quoted."""
    nearest = context.passages[0] if context.passages else None
    if nearest is None:
        return nothing_found(question)
    place = nearest.file_path
    if nearest.headings:
        place += f", {nearest.headings[-1]}"
    if is_chinese(question):
        page = f"，第 {nearest.first_page} 页" if nearest.first_page is not None else ""
        return f"{_CHINESE}最接近的段落见：{place}{page} [{nearest.reference_id}]。{MARK}"
    page = f", page {nearest.first_page}" if nearest.first_page is not None else ""
    return f"{_ENGLISH} The nearest passage is in {place}{page} [{nearest.reference_id}]. {MARK}"


def _sentence(question: str) -> str:
    return _CHINESE if is_chinese(question) else _ENGLISH
