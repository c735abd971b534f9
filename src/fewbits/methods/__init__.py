"""Methods: how codes, scale and zero are found. One file a method; the file's name is the method's name in a scheme.

python -c "from fewbits import methods; print(methods.names())"
"""

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from fewbits.errors import FewbitsError

if TYPE_CHECKING:
    from fewbits.methods.base import Method


@cache
def names() -> tuple[str, ...]:
    """The methods there are, found by their files; none is imported for it."""
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return tuple(sorted(n for n in found if n != "base" and not n.startswith("_")))


@cache
def get(name: str) -> "Method":
    """The method of this name, with its default settings. Raises FewbitsError for an unknown name."""
    if name not in names():
        raise FewbitsError(f"unknown method '{name}': one of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [
        c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__ and hasattr(c, "fit")
    ]
    return classes[0]()


def default_for(kind: str) -> str:
    """`absmax` for codebooks, `rtn` for the rest."""
    return "absmax" if kind in ("nf", "fp") else "rtn"
