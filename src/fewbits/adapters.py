"""Adapters of PEFT in a model in memory."""

from torch import nn

from fewbits.errors import FewbitsError


def check_no_adapter(model: nn.Module) -> None:
    """Raise FewbitsError for a model that PEFT has changed: its adapters would be quantized or lost, not merged."""
    for name, module in model.named_modules():
        if type(module).__module__.partition(".")[0] == "peft" or getattr(module, "_hf_peft_config_loaded", False):
            where = f"layer {name}" if name else "this model"
            raise FewbitsError(f"{where}: has an adapter of PEFT: merge it first (merge_and_unload), then quantize")
