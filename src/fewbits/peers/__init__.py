"""Peers: other libraries' quantization of the same model, by their own public calls. One file a peer; its name is the peer's.

python -c "from fewbits import peers; print(peers.names())"
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from fewbits.errors import FewbitsError

if TYPE_CHECKING:
    from fewbits.peers.base import Peer


@cache
def names() -> tuple[str, ...]:
    """The peers there are, found by their files; nothing of theirs is imported."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return tuple(sorted(n.replace("_", "-") for n in found if n != "base" and not n.startswith("_")))


def options_of(name: str) -> tuple[str, ...]:
    """The options that a peer takes."""
    return tuple(f.name for f in fields(_class_of(name)))


def types_of(name: str) -> dict[str, Any]:
    """The options that a peer takes, with their types."""
    kind = _class_of(name)
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def make(name: str, options: Mapping[str, Any]) -> "Peer":
    """A peer with its options, checked; the library need not be installed. Raises FewbitsError that tells what there is."""
    kind = _class_of(name)
    known = options_of(name)
    if unknown := [key for key in options if key not in known]:
        raise FewbitsError(f"{name} has no option '{unknown[0]}': {', '.join(known)}")
    return kind(**options)


@cache
def _class_of(name: str) -> "type[Peer]":
    if name not in names():
        raise FewbitsError(f"unknown peer '{name}': one of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    classes = [
        c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__ and hasattr(c, "package")
    ]
    return classes[0]
