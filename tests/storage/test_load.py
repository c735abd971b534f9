import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fewbits
from fewbits import FewbitsError
from fewbits.storage.load import load_folder
from fewbits.storage.manifest import FORMAT_VERSION
from tests.storage import tiny


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return fewbits.save(tiny.quantized("llama"), tmp_path / "out", max_shard_size="2KB")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] |= changes
    path.write_text(json.dumps(config))


def shard(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[1]


def test_altered_byte(llama: Path, way: Any) -> None:
    data = bytearray(shard(llama).read_bytes())
    data[-1] ^= 1
    shard(llama).write_bytes(data)
    with pytest.raises(FewbitsError, match=rf"{shard(llama).name}: was truncated or altered"):
        way(llama)


def test_truncated_file(llama: Path, way: Any) -> None:
    shard(llama).write_bytes(shard(llama).read_bytes()[:-100])
    with pytest.raises(FewbitsError, match=rf"{shard(llama).name}: was truncated or altered"):
        way(llama)


def test_missing_shard(llama: Path) -> None:
    gone = shard(llama)
    gone.unlink()
    with pytest.raises(FewbitsError, match=rf"{gone.name}: is missing"):
        fewbits.load(llama)


@pytest.mark.parametrize(("version", "message"), [(FORMAT_VERSION + 1, "newer"), (FORMAT_VERSION - 1, "older")])
def test_other_format_versions(llama: Path, way: Any, version: int, message: str) -> None:
    edit(llama, format_version=version)
    with pytest.raises(FewbitsError, match=message):
        way(llama)


def test_plan_for_another_model(llama: Path, tmp_path: Path, way: Any) -> None:
    other = fewbits.save(tiny.quantized("phi3"), tmp_path / "phi3")
    edit(llama, plan=json.loads((other / "config.json").read_text())["quantization_config"]["plan"])
    with pytest.raises(FewbitsError, match=r"layer .*qkv_proj: the model has none .* the plan is for another model"):
        way(llama)


def test_plan_with_another_scheme(llama: Path, way: Any) -> None:
    text = (llama / "config.json").read_text()
    (llama / "config.json").write_text(text.replace("rtn:uint3g8z", "rtn:uint4g8z"))
    with pytest.raises(FewbitsError, match=r"tensor .*down_proj\.codes: is saved as"):
        way(llama)


def test_tensor_that_is_missing(llama: Path, way: Any) -> None:
    """Two layers less were saved than the configuration has."""
    config = json.loads((llama / "config.json").read_text())
    plan = config["quantization_config"]["plan"]
    extra = [d | {"name": d["name"].replace("layers.1", "layers.2")} for d in plan["decisions"] if "layers.1" in d["name"]]
    plan["decisions"] += extra
    (llama / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(FewbitsError, match=r"layers\.2.*missing"):
        way(llama)


def test_kept_tensor_that_is_missing(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
    with pytest.raises(FewbitsError, match=r"layers\.0\.self_attn\.\w_proj: its tensor 'bias' is missing"):
        fewbits.load(llama)


def test_configuration_of_another_size(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(FewbitsError, match=r"tensor .* is saved as"):
        fewbits.load(llama)


def test_class_that_transformers_lacks(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForTelepathy"]}))
    with pytest.raises(FewbitsError, match="has no LlamaForTelepathy: give a float model"):
        fewbits.load(llama)
    assert tiny.differences(fewbits.load(llama, model=tiny.llama()), tiny.quantized("llama")) == []


def test_layers_that_have_other_names_in_this_transformers(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    text = json.dumps(config | {"transformers_version": "5.0.1"}).replace("mlp.down_proj", "mlp.lower")
    (llama / "config.json").write_text(text)
    with pytest.raises(FewbitsError, match=r"mlp\.lower: the model has none .*saved with transformers 5\.0\.1, this is"):
        fewbits.load(llama)


def test_own_class_is_filled(tmp_path: Path) -> None:
    model = tiny.net().half()
    folder = fewbits.save(model, tmp_path / "out")
    skeleton = tiny.Net()
    loaded = fewbits.load(folder, model=skeleton)
    assert loaded is skeleton and not loaded.training
    assert tiny.differences(model, loaded) == []
    assert loaded.embed.weight is loaded.head.weight
    assert tiny.differences(model.to(torch.bfloat16), fewbits.load(folder, model=tiny.Net(), dtype="bf16")) == []


def test_own_class_on_the_meta_device(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.net(), tmp_path / "out")
    with torch.device("meta"):
        skeleton = tiny.Net()
    with pytest.raises(FewbitsError, match="tensor table: is not saved and not in the given model"):
        fewbits.load(folder, model=skeleton)
    with torch.device("meta"):
        skeleton = tiny.Net()
    skeleton.table = torch.arange(16) / 16
    assert tiny.differences(tiny.net(), fewbits.load(folder, model=skeleton)) == []


def test_model_that_is_one_layer(tmp_path: Path) -> None:
    model = fewbits.quantize(nn.Linear(8, 8), "rtn:int4")
    loaded = fewbits.load(fewbits.save(model, tmp_path / "out"), model=nn.Linear(8, 8))
    assert torch.equal(loaded(torch.eye(8)), model(torch.eye(8)))


def test_own_class_is_wanted(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.net(), tmp_path / "out")
    with pytest.raises(FewbitsError, match=r"holds a Net, a class of your own: load\(folder, model=Net\(\.\.\.\)\)"):
        fewbits.load(folder)


def test_another_class_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.net(), tmp_path / "out")
    other = nn.Sequential(nn.Linear(16, 16))
    with pytest.raises(FewbitsError, match="layer hidden: the model has none of that name"):
        fewbits.load(folder, model=other)
    assert type(other[0]) is nn.Linear


def test_own_class_of_another_size(tmp_path: Path) -> None:
    folder = fewbits.save(tiny.net(), tmp_path / "out")
    with pytest.raises(FewbitsError, match=r"tensor .* is saved as .*: is it another model"):
        fewbits.load(folder, model=tiny.Net(32))


def test_folder_of_an_unquantized_model(tmp_path: Path) -> None:
    tiny.llama().save_pretrained(tmp_path)
    with pytest.raises(FewbitsError, match="was not saved by fewbits"):
        fewbits.load(tmp_path)


@pytest.mark.parametrize(("name", "task"), [("llama", "causal-lm"), ("vit", "image-classification")])
def test_load_folder(name: str, task: str, tmp_path: Path) -> None:
    model = tiny.quantized(name)
    folder = fewbits.save(model, tmp_path / "out", source="owner/name")
    loaded = load_folder(folder, dtype="float32")
    assert (loaded.task, loaded.source, loaded.folder) == (task, str(folder), folder)
    assert loaded.num_classes == (5 if name == "vit" else None)
    assert tiny.differences(model, loaded.model) == []


PEAK = """
import sys
from pathlib import Path
import fewbits, transformers

def kib(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))

way = fewbits.load if sys.argv[2] == "fewbits" else transformers.LlamaForCausalLM.from_pretrained
way(sys.argv[1])  # once for what is imported and allocated on the way
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
before = kib("VmRSS")
way(sys.argv[1])
print((kib("VmHWM") - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["fewbits", "transformers"])
def test_memory_of_loading(tmp_path: Path, way: str) -> None:
    """The float weights would take 67 MB."""
    model = tiny.llama(hidden_size=512, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=8, head_dim=64)
    folder = fewbits.save(fewbits.quantize(model, "rtn:int4"), tmp_path / "out")
    nbytes = (folder / "model.safetensors").stat().st_size
    largest = 512 * 2048 * 4
    done = subprocess.run([sys.executable, "-c", PEAK, str(folder), way], capture_output=True, text=True, check=True)
    assert int(done.stdout) < nbytes + largest
