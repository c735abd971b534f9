"""Native kernels for the CPU: a quantized weight is multiplied as it is stored, never made float again.

The activations are rounded to 8 bits inside, a step for each 64 (or 32) consecutive inputs of each row: step = max|x| / 127.
So with the weight w of the reference, |y - reference| <= sum over inputs of |w| * step / 2, and the rounding of floats.
Within `exact_activations()` they are not rounded. A weight's codes are rearranged at first use (`prepare`, `packed`).

They are on wherever they can run; `enable(False)`, `enabled(False)` and FEWBITS_KERNELS=0 in the environment turn them off.
What measures quality does so by itself (`fewbits.measure.arithmetic`).
"""

from fewbits.runtime.cpu.library import available, level, set_level, why_not
from fewbits.runtime.cpu.linear import exact_activations, linear, packed, packed_bytes, prepare
from fewbits.runtime.cpu.lookup import rows
from fewbits.runtime.cpu.switch import enable, enabled, running

__all__ = [
    "available",
    "enable",
    "enabled",
    "exact_activations",
    "level",
    "linear",
    "packed",
    "packed_bytes",
    "prepare",
    "rows",
    "running",
    "set_level",
    "why_not",
]
