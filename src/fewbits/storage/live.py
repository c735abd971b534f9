"""What a quantized model in memory carries, so that transformers saves it right and never ties what is no parameter."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from fewbits.plan import Plan
from fewbits.storage.dtypes import exceptions, main_dtype, name_of
from fewbits.storage.manifest import Library, Manifest, absolute

_SOURCE = "_fewbits_source"


def settle(model: nn.Module, plan: Plan) -> None:
    """Make a quantized transformers model fit for `save_pretrained` and `tie_weights`; other models are left alone."""
    forget_ties(model)
    if library_of(model) == "transformers":
        from fewbits.storage.plugin import quantizer_of  # here: the plug-in builds on this module

        theirs: Any = model
        theirs.config.quantization_config = manifest_of(model, plan).to_dict()
        if getattr(model, "hf_quantizer", None) is None:
            theirs.hf_quantizer = quantizer_of(theirs.config.quantization_config)


def manifest_of(
    model: nn.Module,
    plan: Plan,
    *,
    source: str | None = None,
    tied: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a model in memory."""
    return Manifest(
        plan=plan,
        library=library_of(model),
        dtype=name_of(main_dtype(model)),
        dtypes=exceptions(model),
        tied=tied or {},
        source=source or source_of(model),
        files=files or {},
    )


def library_of(model: nn.Module) -> Library:
    """The library that can build the model again from its configuration; `torch` for a class of the user's own."""
    homes = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "transformers" in homes and hasattr(model, "config"):
        return "transformers"
    own_home = type(model).__module__.partition(".")[0]
    return "timm" if own_home == "timm" and hasattr(model, "pretrained_cfg") else "torch"


def source_of(model: nn.Module) -> str | None:
    """The original that a model was quantized from: as it remembers, else where transformers read it from."""
    return getattr(model, _SOURCE) if hasattr(model, _SOURCE) else absolute(name_or_path(model))


def name_or_path(model: nn.Module) -> str | None:
    """Where transformers read a model from; None for one made from a configuration, and for other libraries'."""
    return getattr(getattr(model, "config", None), "name_or_path", None) or None


def remember_source(model: nn.Module, source: str | None) -> None:
    """For `fewbits.save` of a model that was loaded."""
    setattr(model, _SOURCE, source)


def check_plan(model: nn.Module, plan: Plan) -> None:
    """Raise FewbitsError unless the model still has the quantized layers of its plan."""
    layers = dict(model.named_modules(remove_duplicate=False))
    for decision in plan.decisions:
        layer = layers.get(decision.name)
        if decision.scheme is not None and not isinstance(layer, QuantizedLayer):
            raise FewbitsError(f"layer {decision.name}: is a {type(layer).__name__}, but the plan says {decision.scheme}")


def forget_ties(model: nn.Module) -> None:
    """Take out of transformers' lists of tied weights those of quantized layers, which are tied in their own way.

    Their biases are parameters still, and stay tied (BERT's output head).
    """
    for module in _with_ties(model):
        for name in ("_tied_weights_keys", "all_tied_weights_keys"):
            ties = getattr(module, name, None)
            if isinstance(ties, Mapping):
                setattr(module, name, {a: b for a, b in ties.items() if not _is_quantized(module, a, b)})


def _with_ties(model: nn.Module) -> Iterator[Any]:
    return (m for m in model.modules() if hasattr(m, "_tied_weights_keys"))


def _is_quantized(module: nn.Module, *tensors: str) -> bool:
    """Whether one of the tensors is the weight of a quantized layer, and so no parameter any more."""
    layers = dict(module.named_modules(remove_duplicate=False))
    owners = ((layers.get(path), name) for path, _, name in (t.rpartition(".") for t in tensors))
    return any(isinstance(layer, QuantizedLayer) and name not in layer._parameters for layer, name in owners)
