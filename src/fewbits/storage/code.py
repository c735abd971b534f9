"""The Python files of a model that brought its own code: they are saved with it, so that its folder can be loaded."""

import shutil
import sys
from pathlib import Path
from typing import Any

from torch import nn

REMOTE = "transformers_modules"  # the package under which transformers imports a folder's code
AUTO_MAP = "auto_map"


def is_remote(model: nn.Module) -> bool:
    """Whether the class of a model comes from its own folder or repository."""
    return type(model).__module__.partition(".")[0] == REMOTE


def write(model: Any, folder: Path) -> None:
    """Copy the files that define a model and its configuration, and what they import from the same folder."""
    if not is_remote(model):
        return
    from transformers.dynamic_module_utils import get_relative_import_files

    for kind in (type(model), type(model.config)):
        if kind.__module__.partition(".")[0] != REMOTE:
            continue
        file = sys.modules[kind.__module__].__file__
        for path in (file, *get_relative_import_files(file)) if file else ():
            shutil.copyfile(path, folder / Path(path).name)


def local_map(config: dict[str, Any], model: nn.Module, folder: Path) -> dict[str, Any]:
    """The content of a config.json whose `auto_map` refers to the folder's own files, and to no others."""
    if not is_remote(model):
        return config
    found = {
        auto: str(name).rpartition("--")[2] for auto, name in (config.get(AUTO_MAP) or {}).items() if isinstance(name, str)
    }
    return {**config, AUTO_MAP: {auto: name for auto, name in found.items() if (folder / _file(name)).is_file()}}


def class_of(folder: Path, config: dict[str, Any], name: str) -> type | None:
    """Import the class of that name from a folder's own code, which the user trusts; None if its `auto_map` has none.

    Raises:
        Exception: Of any type, by the code.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    references = config.get(AUTO_MAP) or {}
    own = references.get("AutoConfig")
    if (
        isinstance(own, str) and (folder / _file(own)).is_file()
    ):  # first: transformers 5.0 copies only what each file imports itself
        get_class_from_dynamic_module(own, str(folder), trust_remote_code=True)
    for reference in references.values():
        if isinstance(reference, str) and reference.rpartition(".")[2] == name and (folder / _file(reference)).is_file():
            return get_class_from_dynamic_module(reference, str(folder), trust_remote_code=True)
    return None


def _file(reference: str) -> str:
    """The file of `module.Class`."""
    return f"{reference.rpartition('.')[0]}.py"
