"""Models in the dtype of the arithmetic."""

from torch import nn

from fewbits.evaluate.settings import QUALITY, Settings
from fewbits.measure.running import device_of
from fewbits.measure.widening import compute_in
from fewbits.models.options import arithmetic_dtype
from fewbits.runtime import cpu

_OF_WEIGHTS = QUALITY | {"size"}  # measures that neither time a model nor look at its memory


def prepare(model: nn.Module, settings: Settings, task: str) -> None:
    """Cast a model to the dtype of the arithmetic, and rearrange its weights for the CPU kernels.

    If nothing but quality is measured, the weights stay as they are stored: each layer casts its own when it runs.
    """
    dtype = arithmetic_dtype(settings.dtype, settings.device)
    if _OF_WEIGHTS.issuperset(settings.applicable(task)) and device_of(model).type == "cpu":
        if dtype is not None:
            compute_in(model, dtype)
        if settings.arithmetic == "exact":
            return
    elif dtype is not None:
        model.to(dtype)
    if cpu.running():
        cpu.prepare(model)  # as at the first use, so that `resident` counts what is made then


def prepare_reference(model: nn.Module, settings: Settings) -> None:
    """Let a model that is neither timed nor run on the kernels compute in the dtype of the arithmetic."""
    dtype = arithmetic_dtype(settings.dtype, settings.device)
    if dtype is not None:
        compute_in(model, dtype)
