"""transformers' plug-in: after `import fewbits`, `from_pretrained` reads the folders that fewbits saves.

It also quantizes on the fly: `from_pretrained(model, quantization_config=FewbitsConfig("hqq:uint4g64"))`.
transformers' side is `HfQuantizer` (transformers.quantizers.base, version 5).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from fewbits import configs
from fewbits.apply import plan_of, quantize, rebuild
from fewbits.errors import FewbitsError, shown
from fewbits.layers import QuantizedLayer
from fewbits.models.weights import check_dtypes, check_floats, check_leftovers, check_no_adapter
from fewbits.plan import OnMisfit, Plan, PlanLike
from fewbits.scheme import Scheme
from fewbits.storage import contents, dtypes, headers, marker, naming, planned, tensors
from fewbits.storage.live import forget_ties, manifest_of, name_or_path, remember_source
from fewbits.storage.manifest import METHOD, Checked, Manifest


def register() -> None:
    """Make the plug-in known to transformers; does nothing the second time."""
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(FewbitsConfig)
        register_quantizer(METHOD)(FewbitsQuantizer)


class FewbitsConfig(QuantizationConfigMixin):
    """The `quantization_config` of a saved folder, or the plan for a model that is to be quantized as it is loaded."""

    def __init__(
        self,
        plan: PlanLike | Mapping[str, Any] | None = None,
        *,
        skip: tuple[str, ...] = (),
        on_misfit: OnMisfit = "error",
        **saved: Any,
    ) -> None:
        """`saved` is the rest of a saved manifest. Raises FewbitsError for an unknown scheme or format version."""
        self.quant_method = METHOD  # pyright: ignore[reportAttributeAccessIssue]  a plug-in's name is a plain text
        self.checked = saved.pop("checked", None) is Checked
        self.manifest = Manifest.from_dict({"plan": plan, **saved}) if "format_version" in saved else None
        if self.manifest is not None:
            self.plan = self.manifest.plan
        elif isinstance(plan, str | Scheme | Plan | Mapping):
            self.plan = Plan.of(plan, skip=skip, on_misfit=on_misfit)
        else:
            raise FewbitsError(f"quantization_config: the plan is {shown(plan)}: give a scheme, a mapping or a Plan")

    def to_dict(self) -> dict[str, Any]:
        """The manifest, without the checksums: what transformers saves from now on are other files."""
        if self.manifest is None:
            return {"quant_method": METHOD, "plan": str(self.plan)}
        return replace(self.manifest, files={}).to_dict()


class FewbitsQuantizer(HfQuantizer):
    """Puts our layers into the skeleton that transformers is about to fill, and checks what it filled."""

    quantization_config: FewbitsConfig
    requires_calibration = False

    def __init__(self, quantization_config: FewbitsConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.keeps_dtypes = False
        self.keeps_names = False

    @property
    def manifest(self) -> Manifest:
        if self.quantization_config.manifest is None:
            raise FewbitsError("this quantization_config was not saved by fewbits: it has no format_version")
        return self.quantization_config.manifest

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        """Raise FewbitsError for what quantizing on the fly cannot do: a model spread over devices."""
        places = set(device_map.values()) if isinstance(device_map, dict) else {device_map}
        if self.pre_quantized:
            _ = self.manifest
        elif len(places) > 1 or places & {"auto", "balanced", "balanced_low_0", "sequential", "disk"}:
            raise FewbitsError(f"device_map={device_map!r}: a model is quantized on one device: save it first, then load it so")

    def update_attn_implementation(self, config: Any) -> Any:
        """Check the configuration, before a model is built and weight files are looked for (transformers 5.1 and later)."""
        configs.check_sizes(config.to_dict())
        return marker.unmark_config(config)

    def update_tp_plan(self, config: Any) -> Any:
        """The same, for transformers 5.0."""
        return self.update_attn_implementation(config)

    def get_state_dict_and_metadata(self, model: nn.Module) -> Any:
        """What `save_pretrained` writes: the model's state and the guards (see marker.py). Shared memory would be dropped."""
        return {**model.state_dict(), **marker.guards(model, size=1)}, {}

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Asked for the dtype that was saved, every tensor comes as it was saved, those of another dtype too."""
        self.keeps_dtypes = self.pre_quantized and dtype == dtypes.parse(self.manifest.dtype)
        return dtype

    def get_new_dtype(self, converter: Any, param: Any, dtype: torch.dtype | None) -> torch.dtype | None:
        return None if self.keeps_dtypes else super().get_new_dtype(converter, param, dtype)

    def _process_model_before_weight_loading(
        self, model: nn.Module, checkpoint_files: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        paths = [Path(file) for file in checkpoint_files or ()]
        for folder in sorted({path.parent for path in paths}):
            check_no_adapter(folder)
        if not self.pre_quantized:
            found = headers.stored(paths, same_twice=True)
            check_dtypes(found)
            state = model.state_dict()
            called = str(name_or_path(model))
            check_floats(called, model, found)
            check_leftovers(called, found.keys() - state.keys())
            for name in found.keys() & state.keys():
                if found[name].shape != tuple(state[name].shape):
                    raise _lacks(model, name)
            return
        if paths and not self.quantization_config.checked:
            contents.verify(paths[0].parent, paths, self.manifest.files)
        plan = naming.fitted(self.manifest.plan, model)
        planned.check(plan, model)
        rebuild(model, plan)
        forget_ties(model)
        marker.ignore_guards(model)
        stored = tensors.stored(paths)
        self.keeps_names = naming.as_in_memory(model, stored)
        if self.keeps_names:
            naming.check_shapes(model, stored)

    def update_weight_conversions(self, weight_conversions: list[Any], model: nn.Module | None = None) -> list[Any]:
        """Names that are the model's own already must not be renamed, as those of the original checkpoint are."""
        more = () if model is None else (model,)  # transformers 5.17 gives none
        return [] if self.keeps_names else super().update_weight_conversions(weight_conversions, *more)

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        if not self.pre_quantized:
            return self._quantize(model)
        check_filled(model)
        if self.keeps_dtypes:
            dtypes.restore(model, dtypes.parse(self.manifest.dtype), self.manifest.dtypes)
        remember_source(model, self.manifest.source)
        return model

    def _quantize(self, model: Any) -> nn.Module:
        check_all_loaded(model)
        quantize(model, self.quantization_config.plan)
        forget_ties(model)
        plan = plan_of(model)
        if plan is not None:
            self.quantization_config = quantizer_of(manifest_of(model, plan).to_dict()).quantization_config
            model.config.quantization_config = self.quantization_config
        return model

    def is_serializable(self) -> Any:
        return True

    @property
    def is_trainable(self) -> Any:
        return False


def quantizer_of(manifest: Mapping[str, Any]) -> FewbitsQuantizer:
    """The quantizer of a model in memory: transformers asks it for what `save_pretrained` writes."""
    return FewbitsQuantizer(FewbitsConfig(**{k: v for k, v in manifest.items() if k != "quant_method"}), pre_quantized=True)


def check_all_loaded(model: Any) -> None:
    """Raise FewbitsError if transformers found no value of the right shape for a weight, and made it up.

    transformers marks what it has read, and what is tied to something else.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        module = model.get_submodule(name.rpartition(".")[0])
        if name.rpartition(".")[2] in module._non_persistent_buffers_set or not tensor.is_floating_point():
            continue
        computed = any(re.search(pattern, name) for pattern in model._keys_to_ignore_on_load_missing or ())
        if not computed and not getattr(tensor, "_is_hf_initialized", False):
            raise _lacks(model, name)


def _lacks(model: nn.Module, name: str) -> FewbitsError:
    return FewbitsError(
        f"{name_or_path(model)}: its weights lack {name}, or have it in another shape, and random numbers are not"
        " quantized: is the checkpoint whole, and of this architecture?"
    )


def check_filled(model: nn.Module) -> None:
    """Raise FewbitsError that names a quantized layer which transformers found no tensors for, or the wrong ones.

    transformers marks what it has read; a model spread over devices has been moved since, and lost the marks.
    """
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return
    for name, layer in model.named_modules():
        if not isinstance(layer, QuantizedLayer):
            continue
        for key in layer.state_dict():
            if not getattr(getattr(layer, key), "_is_hf_initialized", False):
                raise FewbitsError(f"layer {name}: its tensor '{key}' is missing from the saved files")
        try:
            _ = layer.quantized
        except FewbitsError as error:
            raise FewbitsError(f"layer {name}: {error}") from None


register()
