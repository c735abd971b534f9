"""A hash of the code that made a figure."""

import hashlib
from functools import cache
from pathlib import Path

import fewbits

ROOMS = ("search", "methods", "measure")  # and the files beside them


@cache
def code_digest() -> str:
    """`sha256:...` of the sources that search, quantize and measure."""
    root = Path(fewbits.__file__).parent
    files = [*root.glob("*.py"), *(file for room in ROOMS for file in (root / room).rglob("*.py"))]
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"sha256:{whole.hexdigest()}"
