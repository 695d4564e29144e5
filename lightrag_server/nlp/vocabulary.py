from __future__ import annotations


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text, which is easier to read and to add to than a list of them."""
    return frozenset(text.split())
