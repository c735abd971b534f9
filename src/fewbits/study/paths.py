"""Names of models and data that mean the same in every process."""

from pathlib import Path


def absolute(name: str | None) -> str | None:
    """A path that means the same in every process; other names as they are."""
    try:
        return str(Path(name).expanduser().resolve()) if name and Path(name).expanduser().exists() else name
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, ~ of a user who is not there: no path
        return name
