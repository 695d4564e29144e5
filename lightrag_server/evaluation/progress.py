"""How far a run is, on standard error."""

from __future__ import annotations

import sys
import time

QUIET_S = 5.0


class Progress:
    """One line that is written over on a terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = float("-inf")

    def show(self, text: str, *, is_last: bool = False) -> None:
        """The last of a kind is always shown, and stays."""
        if self._is_terminal:
            print(f"\r\x1b[K{text}", end="\n" if is_last else "", file=sys.stderr, flush=True)
        elif is_last or time.monotonic() - self._shown_at >= QUIET_S:
            self._shown_at = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        """A line of its own."""
        print(text, file=sys.stderr, flush=True)
