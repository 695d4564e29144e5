"""A deterministic text of any length with a heavy-tailed cast: few names everywhere, most names seen once or twice.

A document holds about `CHUNKS_PER_DOCUMENT` chunks of 1,200 tokens, cut with the default overlap of 100.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

CHUNKS_PER_DOCUMENT = 5
CHARS_PER_DOCUMENT = 22_500
NEW_NAME_BASE, NEW_NAME_DISCOUNT = 25.0, 0.5
"""Pitman-Yor: the chance of a new name falls as names are used. 1,200 names in 200 chunks, 3,000 in 1,000."""

FIRST = "Ada Basil Clara Conrad Edith Felix Greta Hugo Ingrid Jasper Lena Magnus Nora Oscar Paula Rosa Silas Thora Vera"
PLACE = "Bridge Harbour Hill Institute Library Mill Museum Observatory School Society Station Valley"
SYLLABLES = "ber dal fen gar hol ken lor mar nes pel rad sten tor vik wen zel"
VERBS = "described recorded measured opposed financed restored inspected translated repaired surveyed published praised"
NOUNS = "ledger railway turbine manuscript charter canal orchard telescope loan lighthouse census fresco fossil treaty"
ADJECTIVES = "early careful contested annual northern costly forgotten public wooden systematic celebrated doubtful"
SENTENCES = (
    "{a} {verb} the {adjective} {noun} of {b} and compared it with an older {noun2}.",
    "In {year}, {a} and {b} {verb} a {adjective} {noun}, although the {noun2} remained in doubt.",
    "Nobody {verb} the {noun} before {a} did so, and the {adjective} {noun2} was soon lost.",
    "The {adjective} {noun} cost {number} crowns, which {a} had borrowed from {b} for a {noun2}.",
    "It was said that the {noun} decided the matter, yet the {adjective} {noun2} tells another story.",
    "When the {adjective} {noun} failed, {a} asked {b} to {plain} the {noun2} once more.",
    "A {noun} of that kind needs a {adjective} {noun2}, and neither could be had in {year}.",
)
PLAIN = "describe record measure finance restore inspect repair survey"


@dataclass(frozen=True, slots=True)
class Corpus:
    texts: tuple[str, ...]
    names: tuple[str, ...]
    """In order of first appearance, so the first ones are mentioned most."""

    def questions(self, count: int, seed: int = 7) -> list[str]:
        """Distinct, each about two names and a thing."""
        rng = random.Random(seed)
        nouns = NOUNS.split()
        return [
            f"What did {rng.choice(self.names)} and {rng.choice(self.names)} do about the {rng.choice(nouns)} "
            f"in {rng.randint(1700, 1950)}?"
            for _ in range(count)
        ]


def corpus(documents: int, seed: int = 1) -> Corpus:
    """Cost: about 2 ms per document."""
    writer = _Writer(random.Random(seed))
    texts = tuple(writer.document(number) for number in range(documents))
    return Corpus(texts, tuple(writer.names))


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mentions: list[str] = []
        self.names: dict[str, None] = {}
        self._words = {key: text.split() for key, text in WORDS.items()}

    def document(self, number: int) -> str:
        paragraphs: list[str] = [f"Report {number}"]
        size = 0
        while size < CHARS_PER_DOCUMENT:
            paragraphs.append(" ".join(islice(self._sentences(), self._rng.randint(4, 8))))
            size += len(paragraphs[-1]) + 2
        return "\n\n".join(paragraphs)

    def _sentences(self) -> Iterator[str]:
        while True:
            words = {key: self._rng.choice(choices) for key, choices in self._words.items()}
            numbers = {"year": self._rng.randint(1700, 1950), "number": self._rng.randint(20, 9000)}
            yield self._rng.choice(SENTENCES).format(a=self._name(), b=self._name(), **words, **numbers)

    def _name(self) -> str:
        chance = NEW_NAME_BASE + NEW_NAME_DISCOUNT * len(self.names)
        if self._rng.random() * (NEW_NAME_BASE + len(self._mentions)) < chance:
            name = self._new_name()
            self.names[name] = None
        else:
            name = self._rng.choice(self._mentions)
        self._mentions.append(name)
        return name

    def _new_name(self) -> str:
        while True:
            stem = "".join(self._rng.choices(SYLLABLES.split(), k=self._rng.randint(2, 3))).capitalize()
            name = f"{self._rng.choice(FIRST.split())} {stem}"
            if self._rng.random() < 0.4:
                name = f"{stem} {self._rng.choice(PLACE.split())}"
            if name not in self.names:
                return name


WORDS = {"verb": VERBS, "noun": NOUNS, "noun2": NOUNS, "adjective": ADJECTIVES, "plain": PLAIN}
