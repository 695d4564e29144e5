"""LaTeX sources, brought into the shape that kreuzberg reads whole."""

from __future__ import annotations

import re

_SECTION = r"(?:part|chapter|(?:sub){0,2}section)"
_STRUCTURE = re.compile(rf"(?<!\n)(?=\\(?:begin|end|item|{_SECTION})\b)")
_AFTER = re.compile(
    rf"(\\begin\{{document\}}|\\end\{{\w+\*?\}}|\\{_SECTION}\*?\{{(?:[^{{}}\n]|\{{[^{{}}\n]*\}})*\}})[ \t]*(?=[^\n])"
)
_BODY = r"\begin{document}"


def broken_into_lines(source: str) -> str:
    """The source with commands of structure on lines of their own and a body: kreuzberg 4.10 reads by line, drops
    what follows them on one, and finds nothing outside of a body."""
    if _BODY not in source:
        source = f"{_BODY}\n{source}\n\\end{{document}}\n"
    return _AFTER.sub(r"\1\n", _STRUCTURE.sub("\n", source))
