"""Errors caused by bad input: one clear line that names the layer or file, the value and the way out."""

from reprlib import Repr

LONGEST = 480  # characters of a message; the middle of a longer one is left out
_HEAD, _GAP = 300, " [...] "


class FewbitsError(ValueError):
    """Bad input. The message is one printable line; the command line exits with 2.

    Names and values in a message come from files and users: line breaks become spaces, other control characters are
    escaped, and the middle of a long message is left out, so that its beginning (the file or layer) and its end (the way
    out) remain.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class MisfitError(FewbitsError):
    """A format cannot cut this layer's weight into its groups (see `--on-misfit`)."""


def printable(text: str, most: int = LONGEST) -> str:
    """The text on one line, without control characters, shortened in its middle to `most` characters."""
    if len(text) > 8 * most:  # before anything is made of a text of megabytes
        text = text[: 4 * most] + _GAP + text[-4 * most :]
    if not text.isprintable():
        text = "".join(map(_visible, text))
    if len(text) <= most:
        return text
    head = most * _HEAD // LONGEST
    return text[:head] + _GAP + text[len(text) - (most - head - len(_GAP)) :]


def shown(value: object, most: int = 80) -> str:
    """A value from a file as a message shows it: its repr, never longer than `most`, whatever the value is."""
    try:
        return printable(_SHORT.repr(value), most)
    except ValueError:  # Python converts no whole number of more than 4,300 digits
        return f"<{type(value).__name__}>"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


_SHORT = Repr()  # bounds depth, entries and lengths, so that it is fast for any value
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 4
_SHORT.maxlevel = 3
