"""A layer of a model by name, looked at in a scheme."""

from torch import Tensor, nn

from fewbits import models
from fewbits.errors import FewbitsError
from fewbits.inspect.errors import error_view
from fewbits.inspect.find import find_layer
from fewbits.inspect.stored import stored_view
from fewbits.inspect.values import LayerView
from fewbits.inspect.weights import weights_view
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.models import Loaded
from fewbits.scheme import Scheme
from fewbits.storage.load import original_of


def inspect_layer(
    name: str, pattern: str, scheme: str | None = None, *, classes: int | None = None, trust_remote_code: bool = False
) -> LayerView:
    """Look at one layer of a model.

    `pattern` is its name, or a glob that matches one. A model as it was trained is looked at in `scheme`, or without one its
    weights alone. A saved quantized model brings its own scheme, and is held against its original where that can be loaded.

    Raises FewbitsError for a layer that is not there, with near names; for a scheme that does not fit it; for a scheme given
    to a layer that is quantized already.
    """
    wanted = None if scheme is None else Scheme.parse(scheme)
    loaded = models.load(name, classes=classes, trust_remote_code=trust_remote_code)
    found = find_layer(loaded.model, pattern)
    layer = loaded.model.get_submodule(found)
    if isinstance(layer, QuantizedLayer):
        return _quantized(loaded, found, layer, wanted)
    return _float(loaded, found, layer, wanted)


def view_of(weight: Tensor, scheme: Scheme, *, model: str = "", name: str = "", kind: str = "Linear") -> LayerView:
    """Look at a plain weight, its outputs first, in a scheme. Raises FewbitsError, naming the layer, where it does not fit."""
    try:
        stored = scheme.quantize(weight)
    except FewbitsError as error:
        raise type(error)(f"layer {name}: {error}" if name else str(error)) from None
    return LayerView(
        model=model,
        name=name,
        kind=kind,
        weights=weights_view(weight),
        stored=stored_view(scheme, stored, weight),
        error=error_view(weight, stored),
    )


def _float(loaded: Loaded, name: str, layer: nn.Module, scheme: Scheme | None) -> LayerView:
    weight = _matrix(layer)
    kind = type(layer).__name__
    if scheme is None:
        note = "no scheme was given: add one, such as hqq:uint4g64, to see its grid and what it does to these weights"
        return LayerView(model=loaded.name, name=name, kind=kind, weights=weights_view(weight), notes=(note,))
    return view_of(weight, scheme, model=loaded.name, name=name, kind=kind)


def _quantized(loaded: Loaded, name: str, layer: QuantizedLayer, scheme: Scheme | None) -> LayerView:
    source = None if loaded.folder is None else original_of(loaded.folder)
    if scheme is not None:
        instead = f"inspect its original, {source}, or" if source else "inspect its original, or"
        raise FewbitsError(f"layer {name}: is stored as {layer.scheme} already: {instead} leave {scheme} away")
    weight, notes = _original(source, name)
    stored = layer.quantized
    return LayerView(
        model=loaded.name,
        name=name,
        kind=layer.kind(),
        weights=weights_view(stored.dequantize() if weight is None else weight),
        stored=stored_view(layer.scheme, stored, weight),
        error=None if weight is None else error_view(weight, stored),
        notes=notes,
    )


def _original(source: str | None, name: str) -> tuple[Tensor | None, tuple[str, ...]]:
    """The weight before it was quantized; None, and a note, where it is not to be had."""
    if source is None:
        return None, ("the original is not known: what is shown are the stored weights, without their errors",)
    try:
        return _matrix(models.load_original(source).model.get_submodule(name)), ()
    except (FewbitsError, AttributeError) as error:
        return None, (f"the original is not to be had ({error}): what is shown are the stored weights, without their errors",)


def _matrix(layer: nn.Module) -> Tensor:
    """The weight, its outputs first."""
    kind = replacement_for(layer)
    if kind is None:
        raise FewbitsError(f"{type(layer).__name__} has no weight that is quantized")
    return kind.matrix_of(layer).detach()
