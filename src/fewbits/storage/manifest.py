"""The manifest of a saved folder: all that is needed to rebuild its layers and to check its files.

It is the `quantization_config` of `config.json`:

    {"quant_method": "fewbits", "format_version": 1, "fewbits": "0.1.0", "library": "transformers",
     "plan": {rules, decisions, ...}, "dtype": "bfloat16", "dtypes": {}, "tied": {}, "source": "...",
     "files": {"model.safetensors": "<sha256>"}}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import fewbits
from fewbits import configs, planfile
from fewbits.configs import CONFIG as CONFIG
from fewbits.errors import FewbitsError, shown
from fewbits.plan import Plan
from fewbits.shards import present

METHOD = "fewbits"
FORMAT_VERSION = 1  # raised when a folder written now could not be read by an older fewbits
Library = Literal["transformers", "timm", "torch"]


class Checked:
    """Under the key `checked` of a manifest in memory: its files have been verified. No file can hold a class."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a saved folder says about itself.

    `dtype` is the dtype of the model's floats; `dtypes` names the buffers that are not stored and have another one; `tied`
    names the tensors that are stored under another name; `source` is the original model; `files` are the sha256 sums of the
    weight files, empty where transformers wrote them.
    """

    plan: Plan
    library: Library
    dtype: str
    dtypes: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "quant_method": METHOD,
            "format_version": FORMAT_VERSION,
            "fewbits": fewbits.__version__,
            "library": self.library,
            "plan": planfile.to_dict(self.plan),
            "dtype": self.dtype,
            "dtypes": dict(self.dtypes),
            "tied": dict(self.tied),
            "source": self.source,
            "files": dict(self.files),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Manifest":
        """Undo `to_dict`. Raises FewbitsError for another version, or for what is incomplete."""
        _check_version(data)
        library: Any = data.get("library")
        if library not in get_args(Library):
            raise FewbitsError(f"unknown library {shown(library)}: one of {', '.join(get_args(Library))}")
        plan = planfile.from_dict(data.get("plan"))
        if not plan.decisions:
            raise FewbitsError("its plan holds no decisions, so its layers cannot be rebuilt")
        return cls(
            plan=plan,
            library=library,
            dtype=_text(data, "dtype") or "float32",
            dtypes=_strings(data, "dtypes"),
            tied=_strings(data, "tied"),
            source=_text(data, "source"),
            files=_strings(data, "files"),
        )

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder. Raises FewbitsError that names the folder and what is wrong."""
        settings = read_config(folder).get("quantization_config")
        if not isinstance(settings, dict) or settings.get("quant_method") != METHOD:
            raise FewbitsError(f"{folder}: was not saved by fewbits ({CONFIG} has no quantization_config of it)")
        try:
            return cls.from_dict(settings)
        except FewbitsError as error:
            raise FewbitsError(f"{folder}: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a folder. Raises FewbitsError if there is none, or something is wrong in it."""
    if not folder.is_dir():
        raise FewbitsError(f"{folder}: no such folder (a model of the hub is loaded with transformers' from_pretrained)")
    if not present(folder / CONFIG):
        raise FewbitsError(f"{folder}: is no saved model: it has no {CONFIG}")
    return configs.read_config(folder)


def is_saved_by_fewbits(folder: Path) -> bool:
    """Whether a folder says that fewbits wrote it; false for any other folder, and where there is none."""
    try:
        settings = read_config(folder).get("quantization_config")
    except FewbitsError:
        return False
    return isinstance(settings, dict) and settings.get("quant_method") == METHOD


def absolute(source: str | None) -> str | None:
    """A folder's absolute path, since it will be asked for from elsewhere; a hub id as it is; None for nothing."""
    if not source:
        return None
    folder = Path(source).expanduser()
    return str(folder.resolve()) if folder.is_dir() else source


def _check_version(data: Mapping[str, Any]) -> None:
    version = data.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise FewbitsError(f"its format_version is {shown(version)}, not a number: {CONFIG} is damaged")
    if version > FORMAT_VERSION:
        raise FewbitsError(
            f"saved in format {shown(version)} by fewbits {shown(data.get('fewbits'))}, newer than fewbits {fewbits.__version__}"
            f" reads (format {FORMAT_VERSION}): update fewbits"
        )
    if version < FORMAT_VERSION:
        raise FewbitsError(
            f"saved in format {version} by fewbits {shown(data.get('fewbits'))}, older than fewbits {fewbits.__version__}"
            f" reads (format {FORMAT_VERSION}): quantize the original again"
        )


def _strings(data: Mapping[str, Any], key: str) -> dict[str, str]:
    found = data.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise FewbitsError(f"its '{key}' is no mapping of names, but {shown(found)}: {CONFIG} is damaged")
    return found


def _text(data: Mapping[str, Any], key: str) -> str | None:
    found = data.get(key)
    if found is not None and not isinstance(found, str):
        raise FewbitsError(f"its '{key}' is {shown(found)}, not a name: {CONFIG} is damaged")
    return found
