"""Quantize a model and save it."""

from pathlib import Path

from fewbits import models
from fewbits.apply import plan_of, quantize
from fewbits.evaluate.row import Row
from fewbits.measure.size import file_size, size
from fewbits.measure.speed import quantize_time
from fewbits.plan import Plan
from fewbits.storage import tensors
from fewbits.storage.folder import check_not_original, reserved
from fewbits.storage.save import save_to


def quantize_to(
    name: str,
    plan: Plan,
    folder: Path,
    *,
    force: bool = False,
    max_shard_size: str = "5GB",
    classes: int | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Row:
    """Quantize a model by a plan and save it in a folder; the row has its size before and after.

    Output folder and shard size are checked before the model is loaded, and the folder is kept for this run from then on.
    """
    tensors.shard_bytes(max_shard_size)
    check_not_original(folder, name)
    with reserved(folder, force=force) as output:
        loaded = models.load(name, classes=classes, device=device, trust_remote_code=trust_remote_code)
        before = size(loaded.model)
        model, took = quantize_time(lambda: quantize(loaded.model, plan), device)
        measures = {"size": size(model), "quantize_time": took}
        save_to(
            output,
            model,
            tokenizer=loaded.tokenizer,
            processor=loaded.processor,
            measures=tuple(measures.values()),
            source=loaded.source,
            max_shard_size=max_shard_size,
        )
    extra = {"original": before.to_dict(), "folder": str(folder), "file_size": file_size(folder).to_dict()}
    return Row(model=name, plan=plan_of(model), measures=measures, extra=extra)
