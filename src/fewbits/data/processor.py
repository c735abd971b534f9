"""What a folder says of how its model wants images prepared: `preprocessor_config.json`, kept as it was read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.files import read_object
from fewbits.shards import present

FILE = "preprocessor_config.json"
_COMPLETE = ("do_resize", "do_rescale", "do_normalize")  # an old file leaves some to its class


@dataclass(frozen=True, kw_only=True)
class ImageProcessor:
    """The settings of a transformers image processor, whichever of its classes wrote them.

    transformers' own classes need Pillow or torchvision only to be told what to do; `data.prepare` does it in torch.
    """

    config: Mapping[str, Any]
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> "ImageProcessor | None":
        """The settings in a folder, None where it has none. Raises FewbitsError where they are no JSON object."""
        path = folder / FILE
        return cls(config=read_object(path), folder=folder) if present(path) else None

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the settings where transformers looks for them."""
        Path(save_directory, FILE).write_text(json.dumps(dict(self.config), indent=2) + "\n", encoding="utf-8")

    def settings(self) -> dict[str, Any]:
        """Every setting by name. What an old file leaves out is asked of transformers, which needs Pillow for it.

        Raises FewbitsError where Pillow is missing or transformers does not know the class.
        """
        size = self.config.get("size")
        if all(key in self.config for key in _COMPLETE) and (isinstance(size, Mapping) or not self.config["do_resize"]):
            return dict(self.config)
        return self._asked_of_transformers()

    def _asked_of_transformers(self) -> dict[str, Any]:
        from transformers import AutoImageProcessor

        try:
            return AutoImageProcessor.from_pretrained(
                self.folder, backend="pil", local_files_only=True, trust_remote_code=False
            ).to_dict()
        except ImportError:
            raise FewbitsError(f"{self.folder}: its {FILE} leaves settings out; to fill them in: pip install pillow") from None
        except Exception as error:  # of any type: the settings may hold anything
            raise FewbitsError(f"{self.folder}: transformers cannot read its {FILE}: {one_line(error)}") from error
