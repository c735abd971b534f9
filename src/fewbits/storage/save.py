"""A quantized model to a folder that rebuilds it bit for bit."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

import fewbits
from fewbits import machine, planfile
from fewbits.apply import plan_of
from fewbits.errors import FewbitsError
from fewbits.measure.result import Measure
from fewbits.plan import Plan
from fewbits.storage import card, code, marker, owned, tensors, verify
from fewbits.storage.folder import Output, check_not_original, check_output, reserved, written
from fewbits.storage.live import check_plan, manifest_of, name_or_path, remember_source, settle, source_of
from fewbits.storage.manifest import CONFIG, Manifest, absolute, is_saved_by_fewbits

__all__ = ["check_output", "save", "save_to"]


@runtime_checkable
class Saves(Protocol):
    """A tokenizer or processor of transformers."""

    def save_pretrained(self, save_directory: str | Path) -> Any: ...


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    tokenizer: Saves | None = None,
    processor: Saves | None = None,
    measures: Sequence[Measure] = (),
    source: str | None = None,
    force: bool = False,
    max_shard_size: int | str = "5GB",
) -> Path:
    """Save a model that `fewbits.quantize` or `fewbits.load` returned.

    Written are safetensors in files of at most `max_shard_size`, config.json, plan.yaml, README.md, measurements.json, and
    the files of the tokenizer or processor. The folder is loaded again and compared with the model before it appears under
    its name, whole, in one step.

    Args:
        model: The quantized model.
        folder: Where to save it.
        tokenizer: Saved too.
        processor: Saved too.
        measures: For measurements.json and the README.
        source: The original, a hub id or a path; by default what the model remembers.
        force: Replace a folder that fewbits saved, if no other files are in it.
        max_shard_size: Bytes, or a text such as '500MB'.

    Returns:
        The absolute path of the folder.

    Raises:
        FewbitsError: The model is not quantized, the folder is in use or is the original's, the disk is full or cannot be
            written to, or the folder would not load again. Everything is left as it was.
    """
    check_not_original(Path(folder), source, name_or_path(model))
    with reserved(Path(folder), force=force) as output:
        return save_to(
            output,
            model,
            tokenizer=tokenizer,
            processor=processor,
            measures=measures,
            source=source,
            max_shard_size=max_shard_size,
        )


def save_to(
    output: Output,
    model: nn.Module,
    *,
    tokenizer: Saves | None = None,
    processor: Saves | None = None,
    measures: Sequence[Measure] = (),
    source: str | None = None,
    max_shard_size: int | str = "5GB",
) -> Path:
    """`save` to a folder that was reserved before the work began."""
    plan = _plan_of(model)
    source = _original(model, source)
    max_shard_size = tensors.shard_bytes(max_shard_size)
    check_not_original(output.folder, source, name_or_path(model))
    with written(output) as place:
        whole, tied = tensors.unique(model)
        files = tensors.write({**marker.guards(model), **whole}, place, max_shard_size)
        manifest = manifest_of(model, plan, source=source, tied=tied, files=files)
        for extra in filter(None, (tokenizer, processor)):
            extra.save_pretrained(place)
        code.write(model, place)
        _write_records(model, manifest, measures, place)
        _write_config(model, manifest, place)
        verify.verify(model, place)
    remember_source(model, source)
    settle(model, plan)
    return output.folder


def _plan_of(model: nn.Module) -> Plan:
    plan = plan_of(model)
    if plan is None:
        raise FewbitsError("this model is not quantized by fewbits: fewbits.quantize(model, ...) first")
    check_plan(model, plan)
    return plan


def _original(model: nn.Module, source: str | None) -> str | None:
    """What the model was quantized from; a saved folder, named as the source of what was loaded from it, names its own."""
    if source and is_saved_by_fewbits(Path(source)):
        return Manifest.read(Path(source)).source
    return absolute(source) or source_of(model)


def _write_config(model: Any, manifest: Manifest, place: Path) -> None:
    """`config.json` in the way of the model's library, with the manifest as its `quantization_config`.

    It is written last, since the manifest lists all files of the folder.
    """
    if manifest.library == "transformers":
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.dtype = manifest.dtype
        config.quantization_config = manifest.to_dict()
        config.save_pretrained(place)
        if model.can_generate():  # not its save_pretrained, which refuses what some hub models carry
            model.generation_config.to_json_file(place / "generation_config.json")
        data = json.loads((place / CONFIG).read_text(encoding="utf-8"))
    elif manifest.library == "timm":
        from timm.models._hub import save_config_for_hf  # no public name yet has it

        # as a Path: older releases call its `open`
        save_config_for_hf(model, place / CONFIG)  # pyright: ignore[reportArgumentType]
        data = json.loads((place / CONFIG).read_text(encoding="utf-8"))
        data.get("model_args", {}).pop("num_classes", None)  # it is given above, and transformers' wrapper takes it once only
    else:
        note = "a class of its own: fewbits.load(folder, model=...) fills one"
        data = {"architectures": [type(model).__name__], "note": note}
    names = sorted({CONFIG, *owned.all_files(place)})
    data["quantization_config"] = {**manifest.to_dict(), owned.WRITTEN: names}
    _write_json(marker.mark_config(code.local_map(data, model, place)), place / CONFIG)


def _write_records(model: nn.Module, manifest: Manifest, measures: Sequence[Measure], place: Path) -> None:
    (place / "plan.yaml").write_text(planfile.to_yaml(manifest.plan), encoding="utf-8")
    nbytes = sum((place / file).stat().st_size for file in manifest.files)
    (place / "README.md").write_text(card.readme(model, manifest, measures, nbytes), encoding="utf-8")
    result = {"model": manifest.source, "plan": str(manifest.plan), "coverage": round(manifest.plan.coverage, 6)}
    result["measures"] = {m.name: m.to_dict() for m in measures}
    document = {"fewbits": fewbits.__version__, "machine": machine.describe(), "results": [result]}
    _write_json(document, place / "measurements.json")


def _write_json(data: Any, path: Path) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
