"""Who has fallen silent, told without trusting the clock of the day."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Silence:
    """Watches heartbeats. An owner is silent when its beat has not changed for a time that was watched from here, by
    `ticks`, a clock that nobody sets. A watcher that was frozen itself, or asleep with the whole machine, begins anew:
    the others may have been, too."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._seen: dict[str, tuple[float, float]] = {}
        """Owner → its beat, and since when it has been that."""
        self._looked = ticks()

    def of(self, beats: Mapping[str, float], for_s: float) -> list[str]:
        """Owners that have been silent for so long. Looks further apart than half of it begin anew."""
        now = self._ticks()
        before = self._seen if now - self._looked <= for_s / 2 else {}
        self._looked = now
        self._seen = {
            owner: known if (known := before.get(owner)) and known[0] == beat else (beat, now)
            for owner, beat in beats.items()
        }
        return [owner for owner, (_, since) in self._seen.items() if now - since >= for_s]
