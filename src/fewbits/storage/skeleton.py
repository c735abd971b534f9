"""A model built from a saved folder's configuration, its weights on the meta device and its other buffers as they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewbits.apply import rebuild
from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.models.quiet import quietly, transformers
from fewbits.plan import Plan
from fewbits.storage.live import forget_ties
from fewbits.storage.manifest import Manifest, read_config


def timm_model(folder: Path) -> nn.Module:
    """The timm model of a folder, not filled: no large weight is ever in memory, the buffers that are not stored are."""
    config = read_config(folder)
    try:
        import timm
    except ImportError as error:
        raise FewbitsError(f"{folder}: holds a timm model ({one_line(error)}): pip install 'fewbits[vision]'") from error
    arguments = {"num_classes": config.get("num_classes")} | dict(config.get("model_args", {}))
    try:
        with quietly(), _large_weights_on_meta():
            return timm.create_model(
                config["architecture"], pretrained=False, pretrained_cfg=config.get("pretrained_cfg"), **arguments
            )
    except Exception as error:  # of any type: the model's own code
        what = config.get("architecture")
        raise FewbitsError(f"{folder}: timm {timm.__version__} cannot build its '{what}': {one_line(error)}") from None


def transformers_model(folder: Path, manifest: Manifest, dtype: torch.dtype | None) -> nn.Module:
    """The transformers model of a folder, filled, by transformers itself and our plug-in.

    The checksums are taken as checked. Raises FewbitsError for tensors that are missing, unexpected or of another shape.
    """
    with quietly():
        kind, config = _class_of(folder)
        config.quantization_config = manifest.to_dict() | {"files": {}}
        try:
            model, report = kind.from_pretrained(
                folder, config=config, dtype=dtype or "auto", output_loading_info=True, ignore_mismatched_sizes=True
            )
        except FewbitsError as error:
            raise FewbitsError(f"{folder}: {error}{_versions(folder)}") from None
        except Exception as error:  # of any type: the model's own code
            raise FewbitsError(f"{folder}: transformers cannot load it: {one_line(error)}") from error
    _check_report(folder, report)
    return model


def _class_of(folder: Path) -> tuple[Any, Any]:
    """The class that was saved, and its configuration."""
    from fewbits.models import digits

    digits.register()
    name = (read_config(folder).get("architectures") or ["none"])[0]
    kind = getattr(transformers(), name, None) or getattr(digits, name, None)
    if kind is None:
        version = transformers().__version__
        raise FewbitsError(f"{folder}: transformers {version} has no {name}: give a float model, load(folder, model=...)")
    try:
        return kind, kind.config_class.from_pretrained(folder)
    except Exception as error:  # of any type: configurations check themselves in many ways
        raise FewbitsError(f"{folder}: transformers cannot use its config.json: {one_line(error)}") from error


def _versions(folder: Path) -> str:
    """The two versions of transformers where they differ: a later one may give a model's layers other names."""
    then, now = read_config(folder).get("transformers_version"), transformers().__version__
    return "" if then == now else f" (saved with transformers {then}, this is {now})"


def prepare(model: nn.Module, plan: Plan, device: torch.device) -> nn.Module:
    """Put a plan's quantized layers in place of a skeleton's, ready to be filled.

    Raises FewbitsError before any change where the skeleton has no such layer.
    """
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for decision in plan.decisions:
        if decision.scheme is not None and decision.name not in names:
            raise FewbitsError(f"layer {decision.name}: the model has none of that name; the plan is for another model")
    model = rebuild(model, plan)
    forget_ties(model)
    for layer in model.modules():
        if isinstance(layer, QuantizedLayer):
            layer.like = torch.empty(0, dtype=layer.like.dtype, device=device)  # a meta skeleton left it there
    return model


def complete(model: nn.Module) -> None:
    """Have a timm model compute the buffers that it could not while its weights were on the meta device.

    Raises FewbitsError that names a tensor which is on the meta device still.
    """
    if any(buffer.is_meta for buffer in model.buffers()):
        for module in model.modules():
            if callable(initialize := getattr(module, "init_non_persistent_buffers", None)):
                initialize()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise FewbitsError(f"tensor {name}: is not saved and not in the given model: build that one off the meta device")


def _check_report(folder: Path, report: dict[str, Any]) -> None:
    for key, what in (("missing_keys", "is missing"), ("unexpected_keys", "is not of this model")):
        if names := sorted(report[key]):
            raise FewbitsError(f"{folder}: tensor {names[0]} {what}: was the configuration changed?")
    for name, have, want in sorted(report["mismatched_keys"]):
        raise FewbitsError(f"{folder}: tensor {name} is saved as {tuple(have)}, but the model's is {tuple(want)}")


@contextmanager
def _large_weights_on_meta() -> Iterator[None]:
    """Put the weights of layers that can be quantized on the meta device as they are made.

    All else is real, for buffers are computed from it: timm's Swin asks a norm's weight for its device.
    """
    plain = nn.Module.register_parameter

    def register(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and replacement_for(module) is not None:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        plain(module, name, param)

    nn.Module.register_parameter = register  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        nn.Module.register_parameter = plain
