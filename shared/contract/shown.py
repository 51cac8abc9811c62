"""What is not ours, fit to be shown, read out or taken down: a desk's number, an address, a person's own words."""

from unicodedata import category, normalize

BREAKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs"})
"""Controls and escapes, bidi marks and tags, private use, surrogates: they steer a screen, or hide in it."""

BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs by their category, and nothing to the eye."""


def shown_text(text: str) -> str:
    """`text` as a person may see or read it out: a break is a space, what steers or hides is gone, the rest stays."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if mark in BREAKS else mark for mark in text if mark in BREAKS or category(mark) not in UNSEEN)


def folded_text(given: object) -> object:
    """A number or a code as it is compared: full-width as half-width, nothing unseen, no blanks around or doubled."""
    if not isinstance(given, str) or (given.isascii() and given.isalnum()):
        return given
    seen = shown_text(normalize("NFKC", shown_text(given)))
    return " ".join("".join(" " if mark in BLANK_LETTERS else mark for mark in seen).split())
