from pathlib import Path

import pytest
import yaml

import fewbits
from fewbits.measure.result import Measure
from fewbits.storage import card
from fewbits.storage.live import manifest_of
from tests.storage import tiny


def readme(name: str, source: str | None, *measures: Measure) -> str:
    model = tiny.net() if name == "net" else tiny.quantized(name)
    plan = fewbits.plan_of(model)
    assert plan is not None
    return card.readme(model, manifest_of(model, plan, source=source), measures, 12345)


def front_matter(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---")[1])


def test_hub_model_is_named_as_the_base() -> None:
    text = readme("llama", "owner/name@0a1b2c")
    assert front_matter(text) == {
        "base_model": "owner/name",
        "base_model_relation": "quantized",
        "library_name": "transformers",
        "tags": ["fewbits", "quantized"],
    }
    assert "# name, quantized" in text and "[owner/name@0a1b2c](https://huggingface.co/owner/name)" in text


def test_folder_of_this_machine_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    text = readme("llama", str(tmp_path / "my-model"))
    assert "base_model" not in front_matter(text) and str(tmp_path) not in text
    assert "# my-model, quantized" in text


def test_tells_the_plan() -> None:
    text = readme("llama", None)
    assert "12,345 bytes" in text
    assert "| `*down*` | `rtn:uint3g8z` |" in text
    assert "| `rtn:int8` | tied | 1 | 0 |" in text


def test_tells_measures_with_their_protocol() -> None:
    measure = Measure(name="ppl", value=21.3456, unit="", se=0.21, n=60000, protocol="windows:512")
    assert "| ppl | 21.3456 |  | 0.21 | 60000 | windows:512 |" in readme("llama", None, measure)
    assert "## Measures" not in readme("llama", None)


@pytest.mark.parametrize(
    ("name", "snippet"),
    [
        ("llama", "AutoModelForCausalLM.from_pretrained"),
        ("gpt2", "AutoModelForCausalLM.from_pretrained"),
        ("vit", "AutoModelForImageClassification.from_pretrained"),
        ("net", "fewbits.load(FOLDER, model=Net(...))"),
    ],
)
def test_tells_how_to_load(name: str, snippet: str) -> None:
    text = readme(name, None)
    assert snippet in text
    assert ("**random**" in text) == (name != "net")
