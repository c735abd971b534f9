"""Valid folders of tiny models, to be damaged: saved by fewbits, by transformers and by timm."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fewbits
from fewbits import models
from fewbits.data.prepare import preparation_from
from fewbits.data.processor import ImageProcessor
from fewbits.models.quiet import quietly
from tests.storage import tiny

PROCESSOR = ImageProcessor(
    config={
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 2,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }
)  # fmt: skip
SMALL_SHARDS = "3KB"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A folder and how it is loaded. `saved`: fewbits wrote it, so its weights have checksums."""

    name: str
    folder: Path
    load: Callable[[Path], nn.Module]
    saved: bool
    state: dict[str, str]


def subjects(place: Path) -> list[Subject]:
    """Write the folders below `place`."""
    made = [
        _saved(place, "llama", tiny.quantized("llama"), tokenizer=tokenizer()),
        _saved(
            place, "llama-shards", tiny.quantized("llama", torch.bfloat16), max_shard_size=SMALL_SHARDS, tokenizer=tokenizer()
        ),
        _saved(place, "vit", tiny.quantized("vit"), processor=PROCESSOR),
        _saved(place, "own-class", tiny.net(), load=lambda folder: fewbits.load(folder, model=tiny.Net())),
        _float(place, "float-llama", tiny.llama()),
        _float(place, "float-llama-shards", tiny.llama(), max_shard_size=SMALL_SHARDS),
        _float(place, "float-vit", tiny.vit(torch.float32)),
    ]
    return made + _timm(place)


def tokenizer() -> Any:
    """A fast tokenizer of 48 tokens with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {chr(97 + i): 3 + i for i in range(26)} | {"ab": 29, "abc": 30}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("ab", "c")], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.decoder = decoders.BPEDecoder()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    made.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return made


def fingerprint(model: nn.Module) -> dict[str, str]:
    """Every stored tensor's dtype, shape and a digest of its bytes."""
    return {name: _digest(tensor) for name, tensor in model.state_dict().items()}


def _digest(tensor: torch.Tensor) -> str:
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(data).hexdigest()}"


def _load(folder: Path) -> nn.Module:
    """Load a folder, and use what came with the model: its image processor, its tokenizer and its shapes."""
    loaded = models.load(folder)
    if loaded.processor is not None:
        preparation_from(loaded.processor.settings())(torch.zeros(1, 9, 9, 3, dtype=torch.uint8))
    if loaded.tokenizer is not None:
        fewbits.generate(loaded.model, "abc", tokenizer=loaded.tokenizer, max_new_tokens=1)
    return loaded.model


def _saved(place: Path, name: str, model: nn.Module, load: Callable[[Path], nn.Module] = _load, **options: Any) -> Subject:
    folder = fewbits.save(model, place / name, **options)
    return Subject(name=name, folder=folder, load=load, saved=True, state=fingerprint(load(folder)))


def _float(place: Path, name: str, model: Any, **options: Any) -> Subject:
    with quietly():
        model.save_pretrained(place / name, **options)
        if "llama" in name:
            tokenizer().save_pretrained(place / name)
    return Subject(name=name, folder=place / name, load=_load, saved=False, state=fingerprint(_load(place / name)))


def _timm(place: Path) -> list[Subject]:
    try:
        import timm
    except ImportError:
        return []
    from safetensors.torch import save_file
    from timm.models._hub import save_config_for_hf

    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5).eval()
    plain = place / "float-timm"
    plain.mkdir()
    save_config_for_hf(model, plain / "config.json")
    config = json.loads((plain / "config.json").read_text())
    config.get("model_args", {}).pop("num_classes", None)
    (plain / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), plain / "model.safetensors")
    made = Subject(name="float-timm", folder=plain, load=_load, saved=False, state=fingerprint(_load(plain)))
    return [_saved(place, "timm", fewbits.quantize(model, "rtn:int8")), made]
