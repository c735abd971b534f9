"""What is told by layer: the error of its weights, its loss when it alone is quantized, and how its weights lie."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewbits import data
from fewbits.apply import plan_of, resolve
from fewbits.data.text import load_text
from fewbits.errors import FewbitsError
from fewbits.evaluate.settings import Settings
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.measure.running import check_ids, image_channels
from fewbits.models import Loaded
from fewbits.plan import Plan
from fewbits.scheme import Scheme
from fewbits.search.candidates import space_of
from fewbits.search.measured import Bench
from fewbits.search.objective import Divergence, spread_windows
from fewbits.search.store import Store
from fewbits.search.trial import Trial
from fewbits.study.results import LayerError, LayerLoss, LayerWeights
from fewbits.tensor import QuantizedTensor, decode

BINS = 81
WINDOWS, LENGTH = 8, 256  # of text that each layer's loss is measured on
IMAGES = 200
_POSITIONS = 64  # tokens: fewer than these are too few


def errors(model: nn.Module, original: nn.Module) -> tuple[LayerError, ...]:
    """The relative error of every quantized layer's weights."""
    plan = plan_of(model)
    found = []
    for decision in plan.decisions if plan else ():
        if decision.scheme is None or decision.tied_to is not None:
            continue
        layer = cast(QuantizedLayer, model.get_submodule(decision.name))
        weight = _matrix(original.get_submodule(decision.name)).float()
        off = layer.quantized.dequantize().view(weight.shape) - weight
        found.append(
            LayerError(
                name=decision.name,
                kind=decision.kind,
                params=decision.params,
                scheme=str(decision.scheme),
                error=(off.norm() / weight.norm().clamp(min=1e-30)).item(),
                worst=off.abs().max().item(),
            )
        )
    return tuple(found)


def losses(loaded: Loaded, scheme: str, settings: Settings, folder: Path | None) -> tuple[tuple[LayerLoss, ...], str]:
    """The divergence from the original of each layer when it alone takes the scheme, and on what it was measured.

    If the scheme's groups do not divide a layer it takes one scale per channel, and its result says so. Raises FewbitsError for
    data that is not there.
    """
    space = space_of(loaded.model, (scheme,))
    trial = Trial(loaded.model, space)
    objective, what = _objective(loaded, settings)
    objective.remember(trial.model)
    bench = Bench(trial, objective, Store(folder))
    found = bench.flips(space.kept(), [(u, 0) for u in range(len(space.units))], "one layer at a time")
    kinds = {name: type(module).__name__ for name, module in loaded.model.named_modules()}
    layers = [
        LayerLoss(
            name=unit.name,
            kind=kinds[unit.layers[0]],
            params=unit.params,
            loss=max(0.0, found[u, 0]),
            scheme=_changed(unit.options[0].scheme, scheme),
        )
        for u, unit in enumerate(space.units)
    ]
    return tuple(layers), what


def weights(model: nn.Module, scheme: str) -> tuple[LayerWeights, ...]:
    """How the weights of each layer of the body lie, with the grid that the scheme gives a group of middling scale."""
    parsed = Scheme.parse(scheme)
    plan = resolve(model, Plan.of(parsed, on_misfit="channel"))
    return tuple(
        replace(_weights(model.get_submodule(d.name), d.name, d.kind, d.scheme), scheme=_changed(d.scheme, scheme))
        for d in plan.decisions
        if d.scheme is not None and d.tied_to is None
    )


def _changed(took: Scheme | None, asked: str) -> str:
    """The scheme that a layer took, if it is not the one that was asked for."""
    return "" if took is None or took == Scheme.parse(asked) else str(took)


def _weights(layer: nn.Module, name: str, kind: str, scheme: Scheme) -> LayerWeights:
    weight = _matrix(layer).float()
    quantized = scheme.quantize(weight)
    most = max(weight.abs().max().item(), 1e-12)
    counts = torch.histc(weight, bins=BINS, min=-most, max=most)
    centred = weight - weight.mean()
    spread = centred.pow(2).mean()
    return LayerWeights(
        name=name,
        kind=kind,
        params=weight.numel(),
        low=-most,
        high=most,
        counts=tuple(int(c) for c in counts),
        std=spread.sqrt().item(),
        kurtosis=(centred.pow(4).mean() / spread.pow(2).clamp(min=1e-30)).item(),
        grid=_grid(quantized),
        outside=_outside(weight, quantized),
    )


def _grid(quantized: QuantizedTensor) -> tuple[float, ...]:
    """All values that one group can take: the group whose scale is the median."""
    scale, zero = quantized.scale().flatten(), quantized.zero()
    at = int(scale.argsort()[len(scale) // 2])
    levels = min(quantized.format.levels, 256)
    codes = torch.arange(levels, dtype=torch.uint8).view(1, 1, 1, levels)
    values = decode(quantized.format, codes, scale[at].view(1, 1), None if zero is None else zero.flatten()[at].view(1, 1))
    finite = values.flatten()[values.flatten().isfinite()]
    return tuple(sorted(set(finite.tolist())))


def _outside(weight: Float[Tensor, "..."], quantized: QuantizedTensor) -> float:
    """The share of weights that lie beyond the ends of their group's grid by more than half a step."""
    value = quantized.dequantize().view(weight.shape)
    rows, cols = weight.flatten(1).shape
    r, c = quantized.format.block(rows, cols)
    off = (weight - value).abs().view(rows // r, r, cols // c, c)
    step = quantized.scale()[:, None, :, None]
    if quantized.format.is_codebook:
        step = step * 0.4 if quantized.format.bits > 2 else step  # the widest gap of a codebook
    return (off > 0.5 * step * 1.01).float().mean().item()


def _matrix(layer: nn.Module) -> Float[Tensor, "out ..."]:
    kind = replacement_for(layer)
    if kind is None:
        raise FewbitsError(f"{type(layer).__name__} cannot be quantized")
    return kind.matrix_of(layer).detach()


def _objective(loaded: Loaded, settings: Settings) -> tuple[Divergence, str]:
    if loaded.task == "causal-lm":
        tokens = load_text(settings.text or "demo", tokenizer=loaded.tokenizer, max_tokens=settings.max_tokens)
        check_ids(loaded.model, [tokens.ids])
        count = max(1, min(WINDOWS, len(tokens.ids) // _POSITIONS))
        windows = spread_windows(tokens.ids, count, min(LENGTH, len(tokens.ids)), bos=tokens.bos)
        return Divergence(windows.split(2), causal=True), f"{len(windows)} windows of {windows.shape[1]} tokens of the text"
    name = settings.images or ("demo" if loaded.source == "demo-vision" else None)
    if name is None:
        raise FewbitsError(f"{loaded.name}: no images to measure the loss of layers on")
    most = min(IMAGES, settings.max_images or IMAGES)
    images = data.load_images(
        name,
        max_images=most,
        processor=loaded.processor,
        labels=loaded.labels,
        num_classes=loaded.num_classes,
        channels=image_channels(loaded.model),
    )
    return Divergence([pixels for pixels, _ in images.batches(100)], causal=False), f"{len(images)} of the images"
