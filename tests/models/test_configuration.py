"""What `config.json` says, before anything is built from it."""

from pathlib import Path
from typing import Any

import pytest

from fewbits.errors import FewbitsError
from fewbits.models.configuration import check_code, check_original, labels_of, maker_of, read_config, task_of


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_broken_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FewbitsError, match=r"config\.json: (cannot be read as JSON|a JSON object is wanted)"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("other.txt", "in transformers' format$"),
        ("adapter_config.json", "is an adapter"),
        ("model.gguf", "GGUF"),
        ("inner/config.json", "did you mean .*inner"),
    ],
)
def test_a_folder_without_one_is_told_what_it_has(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    with pytest.raises(FewbitsError, match=said):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("config", "maker"),
    [
        ({"model_type": "llama"}, "transformers"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "fewbits"}}, "fewbits"),
        ({"architecture": "resnet18", "quantization_config": {"quant_method": "fewbits"}}, "fewbits"),
        ({"architecture": "resnet18", "pretrained_cfg": {}}, "timm"),
        ({"model_type": "llama", "quantization_config": None}, "transformers"),
    ],
)
def test_maker(config: dict[str, Any], maker: str) -> None:
    assert maker_of(config) == maker


def test_what_another_library_quantized_is_refused() -> None:
    check_original("x", {"model_type": "llama"})
    with pytest.raises(FewbitsError, match="x: is quantized already, by gptq"):
        check_original("x", {"quantization_config": {"quant_method": "gptq"}})


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "causal-lm"),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, "causal-lm"),
        ({"architectures": ["ViTForImageClassification"], "model_type": "vit"}, "image-classification"),
        ({"architectures": ["DeiTForImageClassificationWithTeacher"], "model_type": "deit"}, "image-classification"),
        ({"architectures": ["Own"], "model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Own"}}, "causal-lm"),
        ({"model_type": "llama"}, "causal-lm"),
        ({"model_type": "vit", "architectures": None}, "image-classification"),
    ],
)
def test_task(config: dict[str, Any], task: str) -> None:
    assert task_of("x", config) == task


@pytest.mark.parametrize("architecture", ["LlamaForSequenceClassification", "ViTModel", "BertForMaskedLM"])
def test_other_tasks_are_refused(architecture: str) -> None:
    config = {"architectures": [architecture], "model_type": "llama"}
    with pytest.raises(FewbitsError, match=f"x: {architecture} is neither a causal language model nor an image classifier"):
        task_of("x", config)


def test_code_from_a_folder_runs_only_when_trusted() -> None:
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    with pytest.raises(FewbitsError, match="--trust-remote-code"):
        check_code("x", own, trusted=False)
    check_code("x", own, trusted=True)
    check_code("x", {"model_type": "llama", "auto_map": {"AutoConfig": "own.Own"}}, trusted=False)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_type_that_transformers_does_not_know(trusted: bool) -> None:
    with pytest.raises(FewbitsError, match="does not know the model type 'own'"):
        check_code("x", {"model_type": "own"}, trusted=trusted)
    with pytest.raises(FewbitsError, match="names no model_type"):
        check_code("x", {}, trusted=trusted)


def test_labels() -> None:
    assert labels_of({"id2label": {"1": "dog", "0": "cat"}}) == ("cat", "dog")
    assert labels_of({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}) == ()
    assert labels_of({"id2label": {"0": "cat", "2": "dog"}}) == ()
    assert labels_of({}) == ()
