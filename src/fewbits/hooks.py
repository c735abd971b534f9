"""What must happen when other packages are imported, without importing them: fewbits itself has to start in 0.3 s.

transformers: after its quantizers are there, ours is registered, so that `from_pretrained` reads our folders; after its
              automatic classes, the class of `demo-vision`.
torchvision:  beside a CPU build of torch its wheel cannot load its operators, and then breaks transformers and timm at
              import, though neither needs them here. Their names are declared first.
"""

import sys
from collections.abc import Callable, Iterable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

QUANTIZERS = "transformers.quantizers.auto"
AUTO_MODELS = "transformers.models.auto.modeling_auto"
_kept_alive: list[object] = []  # a torch Library takes its operators with it when it is collected


class _Finder(MetaPathFinder):
    """Sees every import first; finds nothing itself, but wraps the loaders of the modules that we wait for."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "torchvision" and fullname not in AFTER:
            return None
        others = (finder for finder in sys.meta_path if not isinstance(finder, _Finder) and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Wrapped(spec.loader)
        return spec


class _Wrapped(Loader):
    def __init__(self, inner: Loader) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:  # get_data, is_package, ...: as the inner loader has them
        return getattr(self.inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "torchvision":
            mend_torchvision(Path(place) for place in module.__path__)
        self.inner.exec_module(module)
        if module.__name__ in AFTER:
            AFTER[module.__name__]()


def install() -> None:
    """Watch imports from now on; what is imported already is dealt with at once. Does nothing the second time."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, then in AFTER.items():
        if name in sys.modules:
            then()


def mend_torchvision(places: Iterable[Path]) -> None:
    """Declare the two operators that torchvision's Python needs at import, if its library cannot be loaded."""
    import torch

    try:
        for library in (lib for place in places for lib in place.glob("_C*.so")):
            torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_alive.append(declared)


def _register_quantizer() -> None:
    """Our plug-in registers itself when it is imported; where it is what imports transformers, it is being so."""
    import fewbits.storage.plugin  # noqa: F401


def _register_digits() -> None:
    """As above: the module registers its classes at its end."""
    import fewbits.models.digits  # noqa: F401


# What follows the import of a module.
AFTER: dict[str, Callable[[], None]] = {QUANTIZERS: _register_quantizer, AUTO_MODELS: _register_digits}
