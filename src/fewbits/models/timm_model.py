"""timm's image models: by name, with their weights from the hub, or from a folder in timm's own format."""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from fewbits.data.hub import snapshot
from fewbits.data.names import did_you_mean, near, one_line
from fewbits.data.prepare import HALF_EVEN, RESAMPLING
from fewbits.data.processor import ImageProcessor
from fewbits.errors import FewbitsError, shown
from fewbits.models.boundary import library
from fewbits.models.bounded import Bound, bounded
from fewbits.models.options import Options
from fewbits.models.quiet import quietly
from fewbits.models.weights import SINGLE, check_floats, check_weights
from fewbits.shards import present
from fewbits.storage.headers import Stored

_BICUBIC = 3
_RESAMPLE = {name: number for number, name in RESAMPLING.items()}  # Pillow's numbers
_CROP_PCT = 0.875  # timm's own default
_ELSEWHERE = ("source", "url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "custom_load")
_log = logging.getLogger("fewbits")


def load(name: str, options: Options) -> nn.Module:
    """The model of a timm name, with pretrained weights where weights are wanted.

    `classes` other than the weights' own put a new head of random numbers on it, which is told in the log `fewbits`. Raises
    FewbitsError for an unknown name, a model without weights in safetensors, a missing timm, and where the hub is out of reach.
    """
    timm = _timm()
    _check_name(timm, name)
    if not options.weights:
        return _create(timm, name, options, {})
    cfg = timm.get_pretrained_cfg(name)
    file = _fetch(name, cfg, cached_only=options.cached_only)
    if options.classes not in (None, cfg.num_classes):
        _log.warning(
            "timm/%s: warning: its weights are for %s classes; the head for %s is random",
            name,
            cfg.num_classes,
            options.classes,
        )
    return _create(timm, name, options, {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}})


def load_folder(folder: Path, config: Mapping[str, Any], options: Options, *, called: str) -> nn.Module:
    """The model of a folder in timm's format (`architecture`, `num_classes` and `pretrained_cfg` in config.json)."""
    timm = _timm()
    what = config.get("architecture")
    if not isinstance(what, str):
        raise FewbitsError(f"{called}: config.json names no architecture, so timm cannot build it")
    _check_name(timm, what)
    extra = {**(config.get("model_args") or {}), "pretrained_cfg": own_cfg(config)}
    extra.setdefault("num_classes", config.get("num_classes"))
    found: Mapping[str, Stored] = {}
    if options.weights:
        found = check_weights(folder)
        if not present(folder / SINGLE):
            raise FewbitsError(
                f"{folder}: timm reads one file, {SINGLE}, but this folder has shards: save it again as one file"
            )
        bound = Bound.of_files(len(found), (folder / SINGLE).stat().st_size)
        with bounded(bound):
            empty = _create(timm, config["architecture"], replace(options, weights=False), dict(extra))
        check_floats(called, empty, found)
        extra |= {
            "pretrained": True,
            "pretrained_cfg_overlay": {"file": str(folder / SINGLE), "num_classes": extra["num_classes"]},
        }
    model = _create(timm, config["architecture"], options, extra)
    if options.weights and options.classes is None:
        _check_taken(model, found, called)
    return model


def _check_taken(model: nn.Module, found: Mapping[str, Stored], called: str) -> None:
    """Raise FewbitsError for weights that timm resized, or left out with the classifier, since config.json says otherwise."""
    state = model.state_dict()
    classifiers = {f"{name}.{part}" for name in _classifiers(model) for part in ("weight", "bias")}
    for name, one in found.items():
        if name in state and tuple(state[name].shape) != one.shape:
            raise FewbitsError(
                f"{called}: {shown(name)} is stored as {list(one.shape)}, by config.json it is {list(state[name].shape)}:"
                " do they go together?"
            )
        if name in classifiers - state.keys():
            raise FewbitsError(f"{called}: has a classifier, {shown(name)}, but none by config.json: do they go together?")


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    names = named if isinstance(named, list | tuple) else (named,)
    return tuple(name for name in names if isinstance(name, str))


def own_cfg(config: Mapping[str, Any]) -> dict[str, Any]:
    """The `pretrained_cfg` of a folder without what names weights elsewhere: a folder's weights are its own."""
    cfg = config.get("pretrained_cfg") or {}
    return {key: value for key, value in cfg.items() if key not in _ELSEWHERE}


def processor_of(model: nn.Module) -> ImageProcessor:
    """How the model wants its images, as timm's own evaluation prepares them, in transformers' words.

    Raises:
        FewbitsError: The model's `pretrained_cfg` holds a value that cannot be used.
    """
    from timm.data.config import resolve_model_data_config

    try:
        return processor_from(resolve_model_data_config(model))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        cfg = shown(getattr(model, "pretrained_cfg", None), 200)
        raise FewbitsError(f"the pretrained_cfg in config.json cannot be used ({one_line(error)}): {cfg}") from error


def processor_from(data: Mapping[str, Any]) -> ImageProcessor:
    """The settings of a timm data configuration, as `timm.data.transforms_imagenet_eval` uses them."""
    _, height, width = data["input_size"]
    scaled = [math.floor(edge / (data["crop_pct"] or _CROP_PCT)) for edge in (height, width)]
    if data["crop_mode"] == "squash":
        size = {"height": scaled[0], "width": scaled[1]}
    elif scaled[0] == scaled[1]:
        size = {"shortest_edge": scaled[0]}
    else:
        size = {"cover_height": scaled[0], "cover_width": scaled[1]}
    config = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": size,
        "resample": _RESAMPLE.get(data["interpolation"], _BICUBIC),
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "crop_rounding": HALF_EVEN,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data["mean"]),
        "image_std": list(data["std"]),
    }
    return ImageProcessor(config=config | ({"crop_mode": "border"} if data["crop_mode"] == "border" else {}))


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes that a folder in timm's format may tell."""
    return tuple(str(name) for name in config.get("label_names") or ())


def _timm() -> ModuleType:
    with quietly():
        try:
            import timm
        except ImportError as error:
            raise FewbitsError(f"timm/NAME needs timm ({one_line(error)}): pip install 'fewbits[vision]'") from error
    return timm


def _check_name(timm: ModuleType, name: str) -> None:
    """Raise FewbitsError that gives near names, or the tags that there are."""
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        meant = [f"timm/{n}" for n in near(bare, timm.list_models())]
        raise FewbitsError(f"timm {timm.__version__} has no model '{bare}'{did_you_mean(meant)}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{bare}.*")]
    if tag and tag not in tags:
        raise FewbitsError(f"timm/{bare} has no weights '{tag}': {', '.join(tags) or 'none at all'}")


def _fetch(name: str, cfg: Any, *, cached_only: bool) -> Path:
    """The weights of a timm model, in safetensors, from the hub."""
    if cfg is None or not cfg.hf_hub_id:
        raise FewbitsError(f"timm/{name}: timm has no weights for it on the hub: give a folder in its format")
    folder = snapshot(
        cfg.hf_hub_id,
        only=("config.json", "*.safetensors"),
        instead=f"give a local folder with config.json and {SINGLE} instead of timm/{name}",
        cached_only=cached_only,
    )
    check_weights(folder)
    return folder / SINGLE


def _create(timm: ModuleType, name: str, options: Options, extra: dict[str, Any]) -> nn.Module:
    if options.classes is not None:
        extra = {**extra, "num_classes": options.classes}
    place = options.device if options.weights else torch.device("meta")
    where = torch.device("cpu" if options.weights else "meta")
    with quietly(), library(f"timm/{name}: timm {timm.__version__} cannot build it"), where:
        model = timm.create_model(name, **{k: v for k, v in extra.items() if v is not None})
    return model.to(place, options.dtype).eval()
