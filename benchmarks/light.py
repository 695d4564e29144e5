"""Rate of the local extraction (profile light), one process: `python benchmarks/light.py [file …]`.

A page is 1,000 words, in Chinese about 1,600 characters. Without files: the two texts of the tests, repeated.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import stand
from lightrag_server.nlp import light
from lightrag_server.nlp.language import detect

TEXTS = Path(__file__).parents[1] / "tests" / "data"
CHARS_PER_CHUNK = {"zh": 1700}
USUAL_CHARS_PER_CHUNK = 5000
CHUNKS = 24
BATCH = 4
WORDS_PER_PAGE, CHINESE_CHARS_PER_PAGE = 1000, 1600


def main(paths: list[Path]) -> None:
    rows = [measured(path) for path in paths or sorted(TEXTS.glob("*.txt"))]
    stand.table(("text", "language", "chunks", "pages", "CPU s", "pages/CPU s", "entities", "relations"), rows)


def measured(path: Path) -> tuple[object, ...]:
    text = path.read_text(encoding="utf-8")
    language = detect(text)
    size = CHARS_PER_CHUNK.get(language, USUAL_CHARS_PER_CHUNK)
    while len(text) < size * CHUNKS:
        text += "\n\n" + text
    chunks = [text[start : start + size] for start in range(0, size * CHUNKS, size)]
    light.extract(chunks[:1])  # loads the models
    start = time.process_time()
    names = light.full_names(chunks)
    found = [e for first in range(0, CHUNKS, BATCH) for e in light.extract(chunks[first : first + BATCH], names)]
    cpu_s = time.process_time() - start
    pages = pages_of("".join(chunks), language)
    entities, relations = (sum(len(getattr(e, kind)) for e in found) for kind in ("entities", "relations"))
    return path.name, language, CHUNKS, pages, cpu_s, pages / cpu_s, entities, relations


def pages_of(text: str, language: str) -> float:
    return len(text) / CHINESE_CHARS_PER_PAGE if language == "zh" else len(text.split()) / WORDS_PER_PAGE


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
