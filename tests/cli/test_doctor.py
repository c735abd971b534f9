from pathlib import Path

import pytest

from fewbits.runtime import cpu
from tests.cli.running import Runner, refused

pytestmark = pytest.mark.usefixtures("quick")


def test_the_machine_alone(fewbits: Runner) -> None:
    ended = fewbits("doctor", "--json")
    assert ended.code == 0, ended.err
    document = ended.document
    assert document["limits"]["bandwidth"] > 0 and document["results"] == [] and document["layers"] == []
    assert "GB/s" in ended.out and "kernels" in ended.out
    assert (document["limits"]["kernels"] is not None) == cpu.running()


def test_a_model_by_its_configuration(fewbits: Runner, tmp_path: Path) -> None:
    from fewbits import models

    bare = models.load("demo", weights=False)
    bare.model.config.save_pretrained(tmp_path)  # no weights in this folder
    ended = fewbits("doctor", tmp_path, "--scheme", "uint4g64", "--scheme", "fp8", "--repeats", 1, "--json")
    assert ended.code == 0, ended.err
    document = ended.document
    plain, four, eight = document["results"]
    assert (plain["plan"], four["plan"], eight["plan"]) == ("as it is", "rtn:uint4g64", "fp8")
    assert "measured" not in four["measures"]["decode_speed"] and four["measures"]["decode_speed"]["value"] > 0
    layers = {(t["rows"], t["cols"], t["format"]): t for t in document["layers"] if t["batch"] == 1}
    assert layers[704, 256, "uint4g64"]["kernel"] == cpu.running() and not layers[704, 256, "fp8"]["kernel"]
    assert (8192, 256, "float32") in layers and (8192, 256, "uint4g64") not in layers  # the head is kept
    assert "no kernel for" in ended.out


def test_bytes_of_a_token(fewbits: Runner) -> None:
    """Every weight once in float32, the table that is the head too, norms included; quantized layers as they are stored."""
    ended = fewbits("doctor", "demo", "--scheme", "int8", "--repeats", 1, "--json")
    plain, eight = (row["bytes_per_token"] for row in ended.document["results"])
    weights, outputs = 5_898_240, 8 * (256 + 128 + 128 + 256 + 704 + 704 + 256)
    assert plain - eight == 3 * weights - 2 * outputs
    assert plain == 4 * (weights + 8192 * 256 + 17 * 256)


def test_what_was_predicted_is_measured(fewbits: Runner) -> None:
    ended = fewbits("doctor", "demo", "--scheme", "uint4g64", "--check", "--repeats", 1, "--json")
    assert ended.code == 0, ended.err
    for row in ended.document["results"]:
        speed = row["measures"]["decode_speed"]
        assert 0.1 < speed["value"] / speed["measured"] < 10  # on a busy machine; `doctor --check` shows how near it is
    assert "prediction off by" in ended.out


def test_a_classifier_has_layers_and_no_predictions(fewbits: Runner) -> None:
    ended = fewbits("doctor", "demo-vision", "--scheme", "int8", "--json")
    assert ended.code == 0, ended.err
    assert ended.document["results"] == []


def test_what_a_user_can_get_wrong(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("doctor", "--check"), "--check", "demo")
    refused(fewbits("doctor", "demo", "--scheme", "uint4g48"), "48", "q_proj")
    refused(fewbits("doctor", tmp_path / "nowhere"), "nowhere")
    saved = tmp_path / "saved"
    fewbits("quantize", "demo", "int8", "-o", saved)
    refused(fewbits("doctor", saved), "quantized already", "rtn:int8")
