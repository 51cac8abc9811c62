"""One thing said in both languages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The same in both languages."""

    zh: str
    en: str
