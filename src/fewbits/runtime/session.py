"""One generation with the model's own forward: prefill, then a step for every token.

A transformers model is driven as its own `generate` drives it. `generate` prepares the inputs (mask, positions, cache, logits
processors) and hands them over instead of decoding; each step then goes through `prepare_inputs_for_generation` and
`_update_model_kwargs_for_generation`. So recurrent models, hybrid caches, sliding windows and models without a cache need no
code here. Models with the default protocol and a dynamic cache take a shorter step with the same inputs.

Any other module is called with the whole sequence for every token.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime.cache import NAMES, cache_argument, takes

_GROWING = {"DynamicLayer", "DynamicSlidingWindowLayer"}  # layers of a cache that ask nothing of the caller
_SWITCHING = {
    "Phi3ForCausalLM",
    "PhimoeForCausalLM",
}  # override the protocol to switch between LongRoPE's factors, and else add nothing
_USUAL = {*NAMES, "attention_mask", "position_ids", "cache_position", "logits_to_keep", "use_cache"}


class Session:
    """`prefill()` once, then `step(tokens)` for each further token; both return the logits of the last position."""

    def __init__(self, model: Any, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> None:
        """`count`: the most tokens that follow. Raises FewbitsError for a model that cannot generate, as the methods do."""
        refuse_encoder_decoder(model)
        self.model, self.ids = model, ids
        self.inputs: dict[str, Any] = {}
        self._prepared = self._run(lambda: _prepare(model, ids, mask, count)) if can_generate(model) else None
        self._direct: _Direct | None = None
        if self._prepared is not None:
            self.ids, self.inputs = self._prepared.ids, self._prepared.inputs
        self._processors = self._prepared.processors if self._prepared is not None else None

    @property
    def cache(self) -> Any:
        """The cache after the last call, or None."""
        return next((self.inputs[name] for name in NAMES if name in self.inputs), None)

    @property
    def is_plain(self) -> bool:
        """Whether all state is the keys and values of attention; known after `prefill`."""
        return self._direct is not None

    def prefill(self) -> Float[Tensor, "batch vocabulary"]:
        """Process the prompt."""
        prepared = self._prepared
        if prepared is None:
            return self._logits(self._run(lambda: _ask(self.model, self.ids)))
        if has_growing_rope(self.model, ("dynamic",)):
            _reset_rope(self.model)
        output = self._run(lambda: self.model._prefill(prepared.ids, prepared.settings, self.inputs))
        self._update(output)
        if _is_plain(self.model, self.inputs, self.cache):
            self._direct = _Direct(self.model, self.inputs)
        return self._logits(output)

    def step(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch vocabulary"]:
        """Process one more token of each sequence."""
        direct = self._direct
        if direct is None or self._processors:
            self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        if direct is not None:
            return self._logits(self._run(lambda: direct(tokens), inference=True))
        if self._prepared is None:
            return self._logits(self._run(lambda: _ask(self.model, self.ids)))
        output = self._run(self._protocol)
        self._update(output)
        return self._logits(output)

    def _protocol(self) -> Any:
        options = {"next_sequence_length": 1 if self.inputs.get("use_cache") else None} if _slices_by_length() else {}
        inputs = self.model.prepare_inputs_for_generation(self.ids, **options, **self.inputs)
        return self.model(**inputs, return_dict=True)

    def _update(self, output: Any) -> None:
        self.inputs = self._run(lambda: self.model._update_model_kwargs_for_generation(output, self.inputs))

    def _logits(self, output: Any) -> Tensor:
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor) or logits.dim() != 3:
            raise FewbitsError(f"{type(self.model).__name__} returns no logits for each token: it cannot generate text")
        last = logits[:, -1]
        return self._processors(self.ids, last.float()) if self._processors else last

    def _run(self, work: Callable[[], Any], *, inference: bool = False) -> Any:
        mode: AbstractContextManager[Any] = torch.inference_mode() if inference else torch.no_grad()
        try:
            with mode:
                return work()
        except FewbitsError:
            raise
        except Exception as error:
            why = " ".join(str(error).split())[:300]
            raise FewbitsError(f"{type(self.model).__name__} cannot generate: {type(error).__name__}: {why}") from error


class _Direct:
    """A step of a model with the default protocol: the same inputs, without copies of the whole sequence and its positions."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self.model = model
        self.inputs = {k: v for k, v in inputs.items() if k not in ("attention_mask", "position_ids", "cache_position")}
        self.mask, positions = inputs.get("attention_mask"), inputs.get("position_ids")
        if positions is None and self.mask is not None and takes(model, "position_ids"):
            positions = self.mask.cumsum(-1) - 1
        self.positions = None if positions is None else positions[:, -1:]

    def __call__(self, tokens: Tensor) -> Any:
        if self.positions is not None:
            self.inputs["position_ids"] = self.positions
            self.positions = self.positions + 1
        if self.mask is not None:
            self.inputs["attention_mask"] = self.mask
            self.mask = torch.cat([self.mask, self.mask.new_ones(self.mask.shape[0], 1)], dim=1)
        return self.model(input_ids=tokens[:, None], **self.inputs, return_dict=True)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What `generate` prepared: token ids, its settings, the processors of logits and the inputs of the first forward."""

    ids: Tensor
    settings: Any
    processors: Any
    inputs: dict[str, Any]


def can_generate(model: Any) -> bool:
    """Whether the model has transformers' `generate`."""
    return hasattr(model, "prepare_inputs_for_generation") and hasattr(model, "_update_model_kwargs_for_generation")


def refuse_encoder_decoder(model: Any) -> None:
    """Raise FewbitsError for a model whose prompt goes to an encoder, and for the decoder of one without its encoder."""
    config = getattr(model, "config", None)
    name = type(model).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise FewbitsError(f"{name} is an encoder-decoder, and generate continues a prompt: use its own generate()")
    trained = [each for each in getattr(config, "architectures", None) or () if each.endswith("ForConditionalGeneration")]
    if trained and type(model).__name__ not in trained and _is_seq2seq(type(config)):
        raise FewbitsError(
            f"{name}: its weights are the decoder of {trained[0]}, an encoder-decoder: use that class's generate()"
        )


def _is_seq2seq(config: type) -> bool:
    default = getattr(config, "is_encoder_decoder", False)
    if isinstance(default, bool) and default:
        return True
    parameter = inspect.signature(config.__init__).parameters.get("is_encoder_decoder")
    return parameter is not None and parameter.default is True


def _prepare(model: Any, ids: Tensor, mask: Tensor | None, count: int) -> _Prepared:
    settings = getattr(model, "generation_config", None)
    options: dict[str, Any] = {}
    if takes(model, "attention_mask"):
        options["attention_mask"] = torch.ones_like(ids) if mask is None else mask
    elif mask is not None and not bool(mask.all()):
        raise FewbitsError(f"{type(model).__name__} takes no attention mask: generate for sequences of one length")
    if getattr(settings, "pad_token_id", None) is None:
        end = getattr(settings, "eos_token_id", None)
        options["pad_token_id"] = end if isinstance(end, int) else 0
    made = model.generate(
        ids, max_new_tokens=count, do_sample=False, num_beams=1, num_return_sequences=1, temperature=1.0, top_k=50, top_p=1.0,
        use_cache=cache_argument(model) is not None, custom_generate=_take, **options,
    )  # fmt: skip
    if not isinstance(made, _Prepared):
        raise FewbitsError(f"{type(model).__name__} has a generate() of its own: use that")
    return made


def _take(model: Any, input_ids: Tensor, **options: Any) -> _Prepared:
    """Called by transformers' `generate` in the place of its own decoding."""
    del model
    settings, processors = options.pop("generation_config"), options.pop("logits_processor", None)
    for name in ("stopping_criteria", "synced_gpus", "streamer", "tokenizer", "assistant_model", "assistant_tokenizer"):
        options.pop(name, None)
    return _Prepared(ids=input_ids, settings=settings, processors=processors, inputs=options)


def _ask(model: Any, ids: Tensor) -> Any:
    return model(ids, **({"use_cache": False} if takes(model, "use_cache") else {}))


def _slices_by_length() -> bool:
    """Whether this release's protocol is told how many tokens are new; before, it takes them from `cache_position`."""
    from transformers import GenerationMixin

    mixin: Any = GenerationMixin
    return "next_sequence_length" in inspect.signature(mixin.prepare_inputs_for_generation).parameters


def uses_default_protocol(model: Any) -> bool:
    """Whether a step's inputs are a token, its position, the mask and the cache, and nothing else depends on the length."""
    if not can_generate(model) or not type(model).__module__.startswith("transformers."):
        return False
    from transformers import GenerationMixin

    kind: Any = type(model)
    default: Any = GenerationMixin
    return (
        (kind.__name__ in _SWITCHING or kind.prepare_inputs_for_generation is default.prepare_inputs_for_generation)
        and kind._update_model_kwargs_for_generation is default._update_model_kwargs_for_generation
        and not has_growing_rope(model)
    )


def _is_plain(model: Any, inputs: dict[str, Any], cache: Any) -> bool:
    """Whether a step may take the short way: the default protocol over keys and values that grow."""
    layers = {type(layer).__name__ for layer in getattr(cache, "layers", None) or [None]}
    return bool(inputs.get("use_cache")) and set(inputs) <= _USUAL and layers <= _GROWING and uses_default_protocol(model)


def has_growing_rope(model: Any, kinds: tuple[str, ...] = ("dynamic", "longrope", "su")) -> bool:
    """Whether the rotary embedding changes as the sequence grows (dynamic NTK, LongRoPE)."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    found = [getattr(config, name, None) for name in ("rope_parameters", "rope_scaling")]
    found += [each for kind in found if isinstance(kind, dict) for each in kind.values()]
    return any(isinstance(each, dict) and each.get("rope_type", each.get("type")) in kinds for each in found)


def _reset_rope(model: Any) -> None:
    """Dynamic NTK keeps the frequencies of the longest sequence so far: back to those of the original context."""
    for module in model.modules():
        for name in [name for name in (*module._buffers, *vars(module)) if name.endswith("original_inv_freq")]:
            prefix = name.removesuffix("original_inv_freq")
            current = getattr(module, f"{prefix}inv_freq")
            module.register_buffer(f"{prefix}inv_freq", getattr(module, name).to(current.device), persistent=False)
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
