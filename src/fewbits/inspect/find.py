"""A layer by its name, or by a glob that matches one."""

from fnmatch import fnmatchcase

from torch import nn

from fewbits.data.names import did_you_mean, near
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer, replacement_for

SHOWN = 4  # names that an error lists


def layer_names(model: nn.Module) -> list[str]:
    """Every layer that is quantized, or can be."""
    return [name for name, module in model.named_modules() if isinstance(module, QuantizedLayer) or replacement_for(module)]


def find_layer(model: nn.Module, pattern: str) -> str:
    """The name of the one layer that is meant. Raises FewbitsError, with near names, for none and for several."""
    names = layer_names(model)
    if pattern in names:
        return pattern
    found = [name for name in names if fnmatchcase(name, pattern)]
    if len(found) == 1:
        return found[0]
    if found:
        raise FewbitsError(f"'{pattern}' matches {len(found)} layers: {_listed(found)}; name one of them")
    inside = [name for name in names if pattern.strip("*.") and pattern.strip("*.") in name]
    likely = near(pattern, names) or inside[:SHOWN]
    raise FewbitsError(
        f"no layer '{pattern}'{did_you_mean(likely)}" if likely else f"no layer '{pattern}'; there are {_listed(names)}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
