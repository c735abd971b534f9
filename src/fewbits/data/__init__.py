"""Text and images to measure and calibrate with: files of the user's, what comes with Python, or data sets of the hub."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.data.images import ImageData, load_images
    from fewbits.data.processor import ImageProcessor
    from fewbits.data.text import TokenData, load_text

_PUBLIC = {
    "ImageData": "fewbits.data.images",
    "ImageProcessor": "fewbits.data.processor",
    "TokenData": "fewbits.data.text",
    "load_images": "fewbits.data.images",
    "load_text": "fewbits.data.text",
}

__all__ = ["ImageData", "ImageProcessor", "TokenData", "load_images", "load_text"]


def __getattr__(name: str) -> Any:
    """Import torch when it is first needed."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewbits.data' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
