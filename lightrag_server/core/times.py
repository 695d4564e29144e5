"""Days in running text: questions for them, expressions that name one, and expressions that only point at one."""

from __future__ import annotations

import re

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_WEEKDAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_FEASTS = r"(?:christmas|new\s+year'?s|easter|midsummer|hallows?)\s+(?:eve|day|morning|night)"
_ASKS_WHEN = re.compile(
    r"\b(?:when|what (?:year|date|day)|how long ago)\b|什么时候|何时|哪一?[年天]|几月|几号", re.IGNORECASE
)
_NAMES_DAY = re.compile(
    rf"\b{_FEASTS}\b|\b(?:{_MONTHS})\s+\d{{1,2}}\b|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTHS})\b"
    rf"|\b(?:1[0-9]|20)\d\d\b|\b(?:{_WEEKDAYS})\b|[零一二三四五六七八九〇\d]{{2,4}}年|\d{{1,2}}月\d{{1,2}}[日号]|除夕|中秋|春节",
    re.IGNORECASE,
)
_POINTS_AT_DAY = re.compile(
    r"\b(?:this|that)\s+(?:very\s+)?(?:night|day|morning|evening|afternoon)\b|\bto-?(?:night|day|morrow)\b|\byesterday\b"
    r"|今[天晚夜日]|昨[天晚夜日]|当[天晚夜日]|那[天晚夜]",
    re.IGNORECASE,
)


def asks_when(text: str) -> bool:
    return bool(_ASKS_WHEN.search(text))


def names_day(text: str) -> bool:
    return bool(_NAMES_DAY.search(text))


def points_at_day(text: str) -> bool:
    """Whether it says "tonight" or the like, without saying which night that is."""
    return bool(_POINTS_AT_DAY.search(text)) and not names_day(text)
