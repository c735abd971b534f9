"""What the name of a model means: one of the package's own, `timm/NAME`, a folder, or a hub id. Nothing is read or imported."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fewbits.data.names import did_you_mean, near, near_paths
from fewbits.errors import FewbitsError

Kind = Literal["demo", "timm", "folder", "hub"]
DEMOS = {"demo": "demo", "demo-vision": "demo_vision"}  # name, and folder beside this file
KNOWN = "a folder, a hub id (owner/name), timm/NAME, demo or demo-vision"

_HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+(?:@[\w./-]+)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Name:
    """`text` is a hub id without its revision, a timm name without `timm/`, or the name as given. `folder` is there to read."""

    kind: Kind
    text: str
    folder: Path | None = None
    revision: str | None = None


def resolve(name: str | Path) -> Name:
    """Tell what a name means. Raises FewbitsError, with what may have been meant, for a name that can be nothing."""
    text = str(name)
    if text in DEMOS:
        return Name(kind="demo", text=text, folder=Path(__file__).parent / DEMOS[text])
    if text.startswith("timm/") and not Path(text).is_dir():
        return Name(kind="timm", text=text.removeprefix("timm/"))
    path = Path(text).expanduser()
    if text.strip() and path.is_dir():
        return Name(kind="folder", text=text, folder=path.resolve())
    if path.is_file():
        raise FewbitsError(f"{text}: is a file; give the folder that holds it, with its config.json")
    _refuse_lost_folder(text, path)
    repo, _, revision = text.partition("@")
    return Name(kind="hub", text=repo, revision=revision or None)


def _refuse_lost_folder(text: str, path: Path) -> None:
    """Raise for a name that can only mean a folder which is not there, or is nearly the name of one that is."""
    beside = near_paths(path, folders=True)
    meant = beside if _has_separator(text) else [*near(text, DEMOS), *beside]
    if _is_path(text) or _HUB_ID.fullmatch(text) is None:
        raise FewbitsError(f"'{text}': no such folder{did_you_mean(meant)} (a model is {KNOWN})")
    if meant:
        raise FewbitsError(f"'{text}': no such folder{did_you_mean(meant)} (a model of the hub is owner/name)")


def _is_path(text: str) -> bool:
    return text.startswith((".", "/", "~")) or "\\" in text or text.endswith("/") or text.partition("@")[0].count("/") > 1


def _has_separator(text: str) -> bool:
    return "/" in text or "\\" in text
