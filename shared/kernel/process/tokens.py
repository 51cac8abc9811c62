"""Tokens and other settings as they were meant, wherever they are read."""


def stripped_text(told: str) -> str:
    """A setting without what editors and shells leave around it: whitespace and a byte order mark."""
    return told.strip("\ufeff \t\r\n")


def fits_header(token: str) -> bool:
    """Whether an HTTP header carries it."""
    return token.isascii() and token.isprintable() and " " not in token
