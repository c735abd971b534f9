"""The file of a study as values with their lines, within the limits of a study."""

from pathlib import Path

from fewbits import strictyaml
from fewbits.document import Value

MOST_BYTES, MOST_NODES = 1 << 20, 50_000

__all__ = ["Value", "parse", "read"]


def read(path: Path) -> tuple[Value, str]:
    """The document and its text. Raises FewbitsError as `strictyaml.read` does."""
    return strictyaml.read(path, most=MOST_BYTES, nodes=MOST_NODES)


def parse(text: str, file: str) -> Value:
    """The document that a text holds. Raises FewbitsError as `strictyaml.parse` does."""
    return strictyaml.parse(text, file, nodes=MOST_NODES)
