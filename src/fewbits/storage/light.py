"""The fastest way from a saved folder to a model that generates text on a GPU: without importing transformers.

While PyTorch is imported, threads check the files and open the GPU; tensors are then read straight into its memory. Only for
Llamas with exactly the settings that models/light.py and plain_tokenizer.py know; anything else is loaded as always.
"""

from __future__ import annotations

import ctypes
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewbits.errors import FewbitsError
from fewbits.storage import contents, plain_tokenizer
from fewbits.storage.manifest import Manifest, is_saved_by_fewbits, read_config

if TYPE_CHECKING:
    from fewbits.models.loaded import Loaded


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A folder that is being checked. `load` waits for that, and raises what it found."""

    folder: Path
    manifest: Manifest
    device: str
    checked: Future[None]

    def load(self) -> Loaded | None:
        """The model on its GPU, its weights as kernels read them alone: it cannot be saved. None where it must be loaded as always.

        Raises FewbitsError for damaged files.
        """
        from fewbits.models.light import PlainTokenizer
        from fewbits.models.loaded import Loaded

        try:
            model = _model(self.folder, self.manifest, self.device)
        except Exception:  # loading it as always says what is wrong, if anything is
            model = None
        self.checked.result()
        return None if model is None else Loaded(
            model=model,
            name=str(self.folder),
            source=str(self.folder),
            task="causal-lm",
            tokenizer=PlainTokenizer(str(self.folder / "tokenizer.json")),
            folder=self.folder,
        )  # fmt: skip


def begin(name: str, device: str) -> Begun | None:
    """Start on a folder; None where it must be loaded as always. To be called before PyTorch is imported."""
    folder = Path(name)
    if not device.startswith("cuda") or not is_saved_by_fewbits(folder):
        return None
    if read_config(folder).get("architectures") != ["LlamaForCausalLM"] or plain_tokenizer.why_not(folder) is not None:
        return None
    manifest = Manifest.read(folder)
    if manifest.library != "transformers" or manifest.dtype not in ("bfloat16", "float16") or not manifest.files:
        return None
    pool = ThreadPoolExecutor(2)
    pool.submit(_open_gpu, int(device.partition(":")[2] or 0))
    checked = pool.submit(_check, folder, manifest)
    pool.shutdown(wait=False)
    return Begun(folder=folder.resolve(), manifest=manifest, device=device, checked=checked)


def _check(folder: Path, manifest: Manifest) -> None:
    contents.checked_files(folder, manifest.files)


def _open_gpu(index: int) -> None:
    """Make the context that PyTorch will use: it takes a second, in which Python need not wait."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    device, context = ctypes.c_int(), ctypes.c_void_p()
    if not driver.cuInit(0) and not driver.cuDeviceGet(ctypes.byref(device), index):
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)


def _model(folder: Path, manifest: Manifest, device: str) -> Any:
    import torch

    from fewbits.models import light
    from fewbits.runtime.prepare import prepare_model
    from fewbits.storage import dtypes, skeleton, tensors
    from fewbits.storage.live import remember_source

    config = read_config(folder)
    if light.why_not(config) is not None or not torch.cuda.is_available():
        return None
    place = torch.device(device)
    model: Any = light.LightLlama(config, _ends(folder, config), dtypes.parse(manifest.dtype))
    skeleton.prepare(model, manifest.plan, place)
    tensors.fill(model, tensors.files_of(folder), tied=manifest.tied, dtype=None, device=place)
    if any(tensor.is_meta for tensor in model.parameters()):
        return None
    remember_source(model, manifest.source)
    model.to(place).eval()
    prepare_model(model, keep=False)
    return model


def _ends(folder: Path, config: dict[str, Any]) -> Any:
    """The tokens that end a text: the generation's settings know them best."""
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = settings.get("eos_token_id", config.get("eos_token_id"))
    if not all(type(end) is int for end in (ends if isinstance(ends, list) else [] if ends is None else [ends])):
        raise FewbitsError(f"{folder}: eos_token_id is {ends!r:.60}: tokens are integers")
    return ends
