"""What is measured, on what, and how."""

from dataclasses import dataclass

from fewbits.errors import FewbitsError
from fewbits.plan import OnMisfit

TEXT_MEASURES = (
    "size", "resident", "ppl", "kl", "top1", "latency", "prefill_speed", "decode_speed", "generate_time", "peak_memory",
)  # fmt: skip
IMAGE_MEASURES = ("size", "resident", "accuracy", "kl", "top1", "latency", "peak_memory")
OTHER_MEASURES = ("size", "resident")
ARITHMETICS = ("exact", "kernels")
BY_TASK = {"causal-lm": TEXT_MEASURES, "image-classification": IMAGE_MEASURES}
QUALITY = frozenset({"ppl", "accuracy", "kl", "top1"})
GENERATION = frozenset({"prefill_speed", "decode_speed", "generate_time"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`measures` empty means all that apply to the model; `dtype` None is float32 on the CPU and as stored elsewhere.

    `arithmetic` is that of quality alone: `exact`, or `kernels` to count in how the CPU kernels round activations.
    `text` and `images` None are the demo's for `demo` and `demo-vision`, and an error for other models when quality is asked.
    """

    text: str | None = None
    max_tokens: int = 20_000
    protocol: str = "windows:512"
    images: str | None = None
    max_images: int | None = None
    reference: str | None = None
    measures: tuple[str, ...] = ()
    prompt: int = 64
    new_tokens: int = 32
    repeats: int = 5
    batch_size: int | None = None
    on_misfit: OnMisfit = "error"
    classes: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    arithmetic: str = "exact"
    seed: int = 0
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        known = {*TEXT_MEASURES, *IMAGE_MEASURES}
        if unknown := sorted(set(self.measures) - known):
            raise FewbitsError(f"unknown measure '{unknown[0]}': one of {', '.join(sorted(known))}")
        if self.arithmetic not in ARITHMETICS:
            raise FewbitsError(f"unknown arithmetic '{self.arithmetic}': one of {', '.join(ARITHMETICS)}")

    def applicable(self, task: str) -> tuple[str, ...]:
        """The measures to take of a model with this task: those of the wanted ones that apply to it."""
        possible = BY_TASK.get(task, OTHER_MEASURES)
        return tuple(name for name in self.measures if name in possible) if self.measures else possible

    def wanted(self, task: str) -> tuple[str, ...]:
        """The measures to take of a model with this task. Raises FewbitsError where one does not apply."""
        possible = BY_TASK.get(task, OTHER_MEASURES)
        if wrong := [name for name in self.measures if name not in possible]:
            raise FewbitsError(f"measure '{wrong[0]}' does not apply to {task}: one of {', '.join(possible)}")
        return self.measures or possible
