"""Models by name: hub ids, folders, `timm/NAME`, and the two that the package carries, `demo` and `demo-vision`.

loaded = fewbits.models.load("demo")
loaded.model, loaded.tokenizer
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.models.loaded import Loaded
    from fewbits.models.loading import load, load_original, shapes

_LOADING = "fewbits.models.loading"
_PUBLIC = {"load": _LOADING, "load_original": _LOADING, "Loaded": "fewbits.models.loaded", "shapes": _LOADING}

__all__ = ["Loaded", "load", "load_original", "shapes"]


def __getattr__(name: str) -> Any:
    """Import torch when it is first needed: the command line looks here before it knows whether it is."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewbits.models' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
