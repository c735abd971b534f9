"""fewbits: post-training quantization of PyTorch models, measured.

model = fewbits.quantize(model, "hqq:uint4g64")
fewbits.save(model, "out")
model = fewbits.load("out")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fewbits import hooks
from fewbits.errors import FewbitsError

if TYPE_CHECKING:
    from fewbits.apply import plan_of, quantize
    from fewbits.runtime.generate import generate, stream
    from fewbits.search.tune import tune
    from fewbits.storage.load import load
    from fewbits.storage.plugin import FewbitsConfig
    from fewbits.storage.save import save

__version__ = "0.1.0"

_PUBLIC = {
    "FewbitsConfig": "fewbits.storage.plugin",
    "generate": "fewbits.runtime.generate",
    "load": "fewbits.storage.load",
    "plan_of": "fewbits.apply",
    "quantize": "fewbits.apply",
    "save": "fewbits.storage.save",
    "stream": "fewbits.runtime.generate",
    "tune": "fewbits.search.tune",
}

__all__ = ["FewbitsConfig", "FewbitsError", "__version__", "generate", "load", "plan_of", "quantize", "save", "stream", "tune"]


def __getattr__(name: str) -> Any:
    """Import torch and the rest when they are first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewbits' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


hooks.install()
