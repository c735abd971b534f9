"""Quantized layers: a stored weight, dequantized when used. `a8` also rounds the inputs to 8 bits, a range for each row.

A layer's buffers are the tensors of its QuantizedTensor, by the same names (`codes`, `scale`, ...); all are integers, so
casting a model casts its bias and its kept layers and nothing else.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from fewbits import layer_state
from fewbits.activations import round_rows
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.pieces import pieces
from fewbits.runtime import dispatch
from fewbits.runtime.modes import constant_for_jit, is_jit_traced, is_transformed, leaf_of
from fewbits.scheme import Scheme
from fewbits.tensor import QuantizedTensor, layout


class QuantizedLayer(nn.Module):
    """A layer whose weight is a QuantizedTensor. A tied layer stores nothing and reads another's (`source`).

    `like` is empty and follows the model's casts: it tells the dtype that the float layer's weight would have now.
    """

    takes_a8: ClassVar[bool] = False
    like: Tensor
    bias: nn.Parameter | None

    def __init__(self, scheme: Scheme, weight: Tensor, bias: nn.Parameter | None, device: torch.device | str | None) -> None:
        super().__init__()
        shape = tuple(weight.shape)
        self._check(shape, scheme)
        self.scheme, self.shape = scheme, shape
        self._source: tuple[QuantizedLayer, ...] = ()  # a tuple, so that the other layer is not registered as a child
        for name, (size, dtype) in layout(scheme.format, shape).items():
            self.register_buffer(name, torch.empty(size, dtype=dtype, device=device or weight.device))
        self.register_buffer("like", torch.empty(0, dtype=weight.dtype, device=weight.device), persistent=False)
        self.register_parameter("bias", bias)

    @classmethod
    @abstractmethod
    def empty_like(cls, layer: nn.Module, scheme: Scheme, device: torch.device | str | None = None) -> "QuantizedLayer":
        """The layer that would replace this one, its tensors not yet filled."""

    @classmethod
    def check(cls, layer: nn.Module, scheme: Scheme) -> None:
        """Raise what making a layer would: MisfitError where groups do not divide, FewbitsError for what is not offered."""
        cls._check(tuple(cls.matrix_of(layer).shape), scheme)

    @classmethod
    def _check(cls, shape: tuple[int, ...], scheme: Scheme) -> None:
        if scheme.format.activation_bits and not cls.takes_a8:
            raise FewbitsError(f"{scheme}: 'a8' is offered for linear layers; drop it for this {cls.kind()}")
        pieces(scheme.format, shape)

    @classmethod
    def kind(cls) -> str:
        return cls.__name__.removeprefix("Quantized")

    @classmethod
    def matrix_of(cls, layer: nn.Module) -> Float[Tensor, "out ..."]:
        """The float layer's weight with its outputs first."""
        return layer.get_parameter("weight")

    @classmethod
    def from_float(cls, layer: nn.Module, scheme: Scheme) -> "QuantizedLayer":
        """Quantize a layer; its bias is taken over as it is."""
        quantized = cls.empty_like(layer, scheme, device="meta")
        quantized.fill(scheme.quantize(cls.matrix_of(layer)))
        return quantized.train(layer.training)

    def fill(self, quantized: QuantizedTensor) -> None:
        """Store codes and scales, and take their format: it may have an exponent or bf16 scales where the scheme has f16.

        Raises FewbitsError for a weight of another shape.
        """
        if quantized.shape != self.shape:
            raise FewbitsError(f"a weight of shape {quantized.shape} does not fit a layer of shape {self.shape}")
        dispatch.forget(self)
        for name in layout(self.scheme.format, self.shape):
            delattr(self, name)
        self._take_format(quantized.format)
        for name, tensor in quantized.tensors.items():
            self.register_buffer(name, tensor)

    def _take_format(self, format: Format) -> None:
        self.scheme = replace(self.scheme, format=format)

    def tie(self, source: "QuantizedLayer") -> None:
        """Store nothing, use the other layer's weight."""
        for name in layout(self.scheme.format, self.shape):
            delattr(self, name)
        self._source = (source,)
        self._take_format(source.scheme.format)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        layer_state.mark(self, destination, prefix)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """Raises FewbitsError, even if the load is not strict, for tensors of another format."""
        format = layer_state.format_to_load(self, state_dict, prefix, local_metadata)
        if not self.tied:
            self._take_format(format)
            dispatch.forget(self)
        state_dict = {key: tensor for key, tensor in state_dict.items() if key != f"{prefix}weight"}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)

    @property
    def tied(self) -> bool:
        return bool(self._source)

    @property
    def owner(self) -> "QuantizedLayer":
        """The layer that stores the weight: this one, or the one that it is tied to."""
        return self._source[0] if self._source else self

    @property
    def quantized(self) -> QuantizedTensor:
        owner = self.owner
        format = owner.scheme.format
        tensors = {name: owner.get_buffer(name) for name in layout(format, self.shape)}
        return QuantizedTensor(format=format, shape=self.shape, tensors=tensors)

    @property
    def weight(self) -> Float[Tensor, "..."]:
        """The weight, its outputs first, in the model's dtype: made anew at each call, for code that looks at it."""
        return self.dequantize(self.like.dtype)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "..."]:
        """The weight that is computed with, its outputs first."""
        if is_jit_traced():
            with constant_for_jit():
                return self.dequantize(dtype)
        kernel = dispatch.prepared(self)
        return self.quantized.dequantize(dtype) if kernel is None else kernel.dequantize(dtype).view(self.shape)

    def _weight_for(self, x: object) -> Float[Tensor, "..."]:
        return self.dequantize(x.dtype) if isinstance(x, Tensor) else self.weight

    def extra_repr(self) -> str:
        return f"{self.scheme}, shape={self.shape}, bias={self.bias is not None}" + (", tied" if self.tied else "")


class QuantizedLinear(QuantizedLayer):
    """Replaces nn.Linear."""

    takes_a8 = True

    @classmethod
    def empty_like(cls, layer: nn.Module, scheme: Scheme, device: torch.device | str | None = None) -> "QuantizedLayer":
        return cls(scheme, cls.matrix_of(layer), cast(nn.Parameter | None, layer.bias), device)

    @property
    def in_features(self) -> int:
        return self.shape[1]

    @property
    def out_features(self) -> int:
        return self.shape[0]

    def forward(self, input: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:  # named as in nn.Linear
        if (node := leaf_of(self, input)) is not None:
            return node
        x = round_rows(input) if self.scheme.format.activation_bits else input
        answer = dispatch.linear(self, x) if isinstance(x, Tensor) else None
        return F.linear(x, self._weight_for(x), self.bias) if answer is None else answer


class QuantizedConv1D(QuantizedLinear):
    """Replaces GPT-2's Conv1D: a linear layer whose weight is stored inputs first."""

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x)

    @classmethod
    def matrix_of(cls, layer: nn.Module) -> Float[Tensor, "out in"]:
        return layer.get_parameter("weight").T


class QuantizedConv2d(QuantizedLayer):
    """Replaces nn.Conv2d, grouped and depthwise too."""

    def __init__(self, scheme: Scheme, layer: nn.Conv2d, device: torch.device | str | None) -> None:
        super().__init__(scheme, layer.weight, cast(nn.Parameter | None, layer.bias), device)
        self.in_channels, self.out_channels, self.kernel_size = layer.in_channels, layer.out_channels, layer.kernel_size
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.padding = layer.padding
        self.padding_mode = layer.padding_mode
        self._pad_both_sides: list[int] = layer._reversed_padding_repeated_twice

    @classmethod
    def empty_like(cls, layer: nn.Module, scheme: Scheme, device: torch.device | str | None = None) -> "QuantizedLayer":
        return cls(scheme, cast(nn.Conv2d, layer), device)

    def forward(self, input: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b o h2 w2"]:
        if (node := leaf_of(self, input)) is not None:
            return node
        x, padding = input, self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._pad_both_sides, mode=self.padding_mode), (0, 0)
        return torch.conv2d(x, self._weight_for(x), self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[arg-type]


class QuantizedEmbedding(QuantizedLayer):
    """Replaces nn.Embedding; only the rows that are asked for are dequantized."""

    @classmethod
    def empty_like(cls, layer: nn.Module, scheme: Scheme, device: torch.device | str | None = None) -> "QuantizedLayer":
        cls.check(layer, scheme)
        return cls(scheme, cls.matrix_of(layer), None, device)

    @classmethod
    def check(cls, layer: nn.Module, scheme: Scheme) -> None:
        if cast(nn.Embedding, layer).max_norm is not None:
            raise FewbitsError("an embedding with max_norm changes its weights when used: --skip it")
        super().check(layer, scheme)

    @property
    def num_embeddings(self) -> int:
        return self.shape[0]

    @property
    def embedding_dim(self) -> int:
        return self.shape[1]

    def forward(self, input: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
        if (node := leaf_of(self, input)) is not None:
            return node
        flat = input.reshape(-1)
        rows = dispatch.rows(self, flat)
        if rows is None and (is_jit_traced() or is_transformed()):
            rows = F.embedding(flat, self.dequantize(self.like.dtype))
        if rows is None:
            rows = (dispatch.prepared(self) or self.quantized).dequantize_rows(flat, self.like.dtype)
        return rows.to(self.like.dtype).view(*input.shape, self.shape[1])


def replacement_for(module: nn.Module) -> type[QuantizedLayer] | None:
    """The quantized layer that can stand for this one. Subclasses may compute something else, so only the very types count."""
    kind = type(module).__mro__[is_parametrized(module)]  # parametrization adds a subclass of its own
    if (kind.__module__, kind.__qualname__) == ("transformers.pytorch_utils", "Conv1D"):  # without importing transformers
        return QuantizedConv1D
    return {nn.Linear: QuantizedLinear, nn.Conv2d: QuantizedConv2d, nn.Embedding: QuantizedEmbedding}.get(kind)
