"""Texts of a page: what is between backquotes is code; a heading's anchor."""

import re


def spans(text: str) -> list[tuple[bool, str]]:
    """Pieces of a text, and whether each is code."""
    return [(at % 2 == 1, piece) for at, piece in enumerate(text.split("`")) if piece]


def anchor(title: str) -> str:
    """A name for links: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
