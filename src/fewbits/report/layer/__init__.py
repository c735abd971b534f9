"""The page of one layer: `fewbits inspect MODEL LAYER SCHEME -o FILE.html`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewbits.inspect.values import LayerView


def write(view: "LayerView", path: Path, command: str = "") -> None:
    """Write the page, whole or not at all; `command` is what was run to make it.

    Raises:
        FewbitsError: It cannot be written, or matplotlib is not installed.
    """
    from fewbits.report.html import write_page
    from fewbits.report.layer.compose import compose

    write_page(compose(view, command), path)
