"""Trained models and data that lie beside the project on its developers' machines; users do not have them."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared_path(name: str) -> Path:
    """The path of a shared model or file; skips the test where there is none."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}, which users do not have")
    return path
