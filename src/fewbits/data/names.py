"""What was meant by a name that is nothing: the nearest ones that there are."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

CLOSE = 0.7  # share of letters in common: 'dmeo' is near 'demo', 'gpt2' is not


def near(name: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """The choices that look like the name, the likeliest first."""
    folded: dict[str, str] = {}
    for choice in choices:
        folded.setdefault(choice.lower(), choice)
    return [folded[match] for match in get_close_matches(name.lower(), folded, n=most, cutoff=CLOSE)]


def near_paths(path: Path, *, folders: bool, most: int = 3) -> list[str]:
    """The files, or folders, beside a path that does not exist whose names look like it."""
    try:
        beside = [p.name for p in path.parent.iterdir() if p.is_dir() == folders]
    except OSError:  # the folder above it is not there either: then nothing is near
        return []
    return [str(path.with_name(name)) for name in near(path.name, beside, most)]


def did_you_mean(found: list[str]) -> str:
    """`; did you mean 'a' or 'b'?`, or nothing."""
    return f"; did you mean {' or '.join(repr(f) for f in found)}?" if found else ""


def one_line(error: BaseException, most: int = 200) -> str:
    """Another library's message, on one line and not too long."""
    text = " ".join(str(error).split())
    if not text or isinstance(error, KeyError):  # a KeyError's text is the key alone
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= most else text[: most - 3] + "..."
