"""A model built from a saved folder's configuration, its weights on the meta device and its other buffers as they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewbits.apply import rebuild
from fewbits.data.names import one_line
from fewbits.errors import FewbitsError, printable, shown
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.models import timm_model
from fewbits.models.boundary import library
from fewbits.models.bounded import Bound, bounded
from fewbits.models.quiet import quietly, transformers
from fewbits.plan import Plan
from fewbits.storage import code, planned
from fewbits.storage.live import forget_ties
from fewbits.storage.manifest import Checked, Manifest, read_config
from fewbits.storage.marker import unmark_config


def build_timm(folder: Path, bound: Bound) -> nn.Module:
    """The timm model of a folder, not filled: no large weight is ever in memory, the buffers that are not stored are."""
    config = read_config(folder)
    try:
        import timm
    except ImportError as error:
        raise FewbitsError(f"{folder}: holds a timm model ({one_line(error)}): pip install 'fewbits[vision]'") from error
    what = config.get("architecture")
    if not isinstance(what, str) or not timm.is_model(what):
        raise FewbitsError(f"{folder}: timm {timm.__version__} cannot build its {shown(what)}: it has no such model")
    cfg = timm_model.own_cfg(config)
    arguments = {"num_classes": config.get("num_classes")} | dict(config.get("model_args") or {})

    def build() -> nn.Module:
        return timm.create_model(what, pretrained=False, pretrained_cfg=cfg, **arguments)

    try:
        with quietly(), library(f"timm {timm.__version__} cannot build its {shown(what)}"):
            with bounded(bound), torch.device("meta"):
                build()
            try:
                with _large_weights_on_meta():
                    return build()
            except NotImplementedError as error:
                if "meta tensor" not in str(error):
                    raise
                return build()  # it computes with its weights as it is made (swinv2): they are in memory for a moment
    except FewbitsError as error:
        raise FewbitsError(f"{folder}: {error}") from error.__cause__


def transformers_model(
    folder: Path,
    manifest: Manifest,
    dtype: torch.dtype | None,
    bound: Bound,
    *,
    kind: Any = None,
    trust_remote_code: bool = False,
) -> nn.Module:
    """The transformers model of a folder, filled, by transformers itself and our plug-in.

    `kind` is its class; by default the one that config.json names. The checksums are taken as checked. Raises FewbitsError
    for tensors that are missing, unexpected or of another shape.
    """
    with quietly():
        kind = kind or _class_of(folder, trusted=trust_remote_code)
        config = unmark_config(_config_of(folder, kind))
        vars(config).pop("transformers_weights", None)  # the name of another file
        _check_dtype(folder, config, manifest)
        config.quantization_config = manifest.to_dict() | {"checked": Checked}
        try:
            with bounded(bound), library("transformers cannot load it"):
                model, report = kind.from_pretrained(
                    folder,
                    config=config,
                    dtype=dtype or "auto",
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                )
        except FewbitsError as error:
            raise FewbitsError(f"{folder}: {error}{_versions(folder)}") from error.__cause__
    _check_report(folder, report)
    return model


def _check_dtype(folder: Path, config: Any, manifest: Manifest) -> None:
    have = str(getattr(config, "dtype", None) or manifest.dtype).removeprefix("torch.")
    if have != manifest.dtype:
        raise FewbitsError(
            f"{folder}: config.json says dtype {printable(have, 80)}, its quantization_config {printable(manifest.dtype, 80)}:"
            " was it changed? load(folder, dtype=...) casts"
        )


def empty_transformers_model(folder: Path, *, kind: Any = None) -> nn.Module:
    """The float model of a folder's configuration on the meta device."""
    with quietly():
        kind = kind or _class_of(folder, trusted=False)
        with torch.device("meta"):
            return kind(unmark_config(_config_of(folder, kind)))


def _class_of(folder: Path, *, trusted: bool) -> Any:
    """The class that was saved: transformers' own, or from the folder's own code if that is trusted."""
    from fewbits.models import digits

    digits.register()
    found = read_config(folder)
    name = (found.get("architectures") or ["none"])[0]
    kind = getattr(transformers(), name, None) or getattr(digits, name, None)
    if kind is None and found.get(code.AUTO_MAP):
        if not trusted:
            raise FewbitsError(
                f"{folder}: {printable(name, 80)} needs code from its own folder; read it, and if you trust it add"
                " --trust-remote-code (trust_remote_code=True)"
            )
        try:
            kind = code.class_of(folder, found, name)
        except Exception as error:  # of any type: the folder's own code
            raise FewbitsError(f"{folder}: its code for {printable(name, 80)} fails: {one_line(error)}") from error
    if not (isinstance(kind, type) and issubclass(kind, transformers().PreTrainedModel) and kind.config_class is not None):
        version = transformers().__version__
        raise FewbitsError(
            f"{folder}: transformers {version} has no {printable(name, 80)}: give a float model, load(folder, model=...)"
        )
    return kind


def _config_of(folder: Path, kind: Any) -> Any:
    with library(f"{folder}: transformers cannot use its config.json"):
        return kind.config_class.from_pretrained(folder, local_files_only=True)


def _versions(folder: Path) -> str:
    """The two versions of transformers where they differ: a later one may give a model's layers other names."""
    then, now = read_config(folder).get("transformers_version"), transformers().__version__
    return "" if then == now else f" (saved with transformers {then}, this is {now})"


def prepare(model: nn.Module, plan: Plan, device: torch.device) -> nn.Module:
    """Put a plan's quantized layers in place of a skeleton's, ready to be filled.

    Raises FewbitsError before any change where the skeleton has no such layer.
    """
    planned.check(plan, model)
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
