"""Quantize a model and save it."""

from pathlib import Path

from fewbits import models
from fewbits.apply import plan_of, quantize
from fewbits.evaluate.row import Row
from fewbits.measure.size import file_size, size
from fewbits.measure.speed import quantize_time
from fewbits.plan import Plan
from fewbits.storage.save import check_output, save


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
    """Quantize a model by a plan and save it in a folder; the row tells its size before and after.

    The folder is looked at before the model is: a name that is taken is refused at once.
    """
    check_output(folder, force=force)
    loaded = models.load(name, classes=classes, device=device, trust_remote_code=trust_remote_code)
    before = size(loaded.model)
    model, took = quantize_time(lambda: quantize(loaded.model, plan), device)
    measures = {"size": size(model), "quantize_time": took}
    save(
        model,
        folder,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        measures=tuple(measures.values()),
        source=loaded.source,
        force=force,
        max_shard_size=max_shard_size,
    )
    extra = {"original": before.to_dict(), "folder": str(folder), "file_size": file_size(folder).to_dict()}
    return Row(model=name, plan=plan_of(model), measures=measures, extra=extra)
