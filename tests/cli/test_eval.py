from pathlib import Path

from fewbits.runtime import cpu
from tests.cli.running import Runner, refused

QUALITY = (
    "--max-tokens",
    600,
    "--protocol",
    "windows:64",
    "--measure",
    "size",
    "--measure",
    "ppl",
    "--measure",
    "kl",
    "--measure",
    "top1",
)


def test_side_by_side(fewbits: Runner, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    assert fewbits("quantize", "demo", "uint4g64", "-o", saved).code == 0
    ended = fewbits("eval", "demo", saved, "--scheme", "uint4g64", *QUALITY, "--json")
    assert ended.code == 0, ended.err
    document = ended.document
    original, fresh, loaded = document["results"]
    assert document["machine"]["torch"] and document["fewbits"]
    assert "kl" not in original["measures"]
    for name in ("size", "ppl", "kl", "top1"):  # a saved model remembers its original, and equals the one made here
        assert fresh["measures"][name]["value"] == loaded["measures"][name]["value"]
    assert 0 < fresh["measures"]["kl"]["value"] < 0.2
    ppl = original["measures"]["ppl"]
    assert ppl["protocol"] == "windows:64" and ppl["n"] == 600 // 63 * 63 and ppl["data"].startswith("sha256:")


def test_speeds(fewbits: Runner) -> None:
    names = ("prefill_speed", "decode_speed", "generate_time", "latency", "peak_memory", "resident")
    wanted = [part for name in names for part in ("--measure", name)]
    ended = fewbits("eval", "demo", *wanted, "--repeats", 1, "--prompt", 4, "--new-tokens", 3, "--json")
    measures = ended.document["results"][0]["measures"]
    assert set(measures) == set(names) and all(m["value"] > 0 for n, m in measures.items() if n != "peak_memory")
    assert "prompt 4, new 3" in measures["decode_speed"]["protocol"]


def test_a_classifier(fewbits: Runner) -> None:
    ended = fewbits("eval", "demo-vision", "--scheme", "int8", "--repeats", 1, "--json")
    assert ended.code == 0, ended.err
    original, quantized = (row["measures"] for row in ended.document["results"])
    assert original["accuracy"]["value"] > 0.95
    assert abs(quantized["accuracy"]["value"] - original["accuracy"]["value"]) < 0.02
    assert 0 <= quantized["kl"]["value"] < 0.01


def test_quality_on_the_kernels(fewbits: Runner, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    fewbits("quantize", "demo", "uint4g64", "-o", saved)
    own = ("--reference", saved, *QUALITY, "--json")
    exact = fewbits("eval", saved, *own).document["results"][0]["measures"]["kl"]
    assert (exact["value"], exact["parts"]["arithmetic"]) == (0, "exact")
    rounded = fewbits("eval", saved, *own, "--arithmetic", "kernels").document["results"][0]["measures"]["kl"]
    assert rounded["value"] < 1e-3
    assert (rounded["value"] > 0) == (rounded["parts"]["arithmetic"] == "kernels") == cpu.running()


def test_only_what_is_asked(fewbits: Runner) -> None:
    ended = fewbits("eval", "demo", "--measure", "size", "--json")
    assert set(ended.document["results"][0]["measures"]) == {"size"}


def test_a_bad_model_leaves_the_others(fewbits: Runner) -> None:
    ended = fewbits("eval", "./nowhere", "demo", "--measure", "size", "--json")
    assert ended.code == 1 and "no such folder" in ended.out and "measured" not in ended.err
    bad, good = ended.document["results"]
    assert bad["measures"]["size"]["value"] is None and "no such folder" in bad["measures"]["size"]["error"]
    assert good["measures"]["size"]["value"] > 0


def test_crlf_text_has_the_perplexity_of_lf(fewbits: Runner, tmp_path: Path) -> None:
    """As Python's text mode reads it; with carriage returns the model saw other text."""
    text = "The quick brown fox jumps over the lazy dog.\nIt is said to be a fine sentence.\n" * 40
    values = []
    for name, newline in (("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")):
        (tmp_path / name).write_bytes(text.replace("\n", newline).encode())
        ended = fewbits("eval", "demo", "--text", tmp_path / name, "--protocol", "plain:64", "--measure", "ppl", "--json")
        values.append(ended.document["results"][0]["measures"]["ppl"]["value"])
    assert values[0] == values[1] == values[2]


def test_what_a_user_can_get_wrong(fewbits: Runner, tmp_path: Path) -> None:
    refused(fewbits("eval", "demo", "--protocol", "window:512"), "window:512", "stride:1024:512")
    refused(fewbits("eval", "demo", "--measure", "perplexity"), "perplexity", "ppl")
    refused(fewbits("eval", "demo", "--arithmetic", "fast"), "fast", "exact, kernels")
    refused(fewbits("eval", "demo", "--measure", "accuracy"), "accuracy", "causal-lm")
    refused(fewbits("eval", "demo", "--text", tmp_path / "nothing.txt"), "nothing.txt")
    refused(fewbits("eval", "demo", "--dtype", "float13"), "float13", "bfloat16")
    refused(fewbits("eval", "demo", "--reference", "./nowhere", *QUALITY), "nowhere")
    refused(fewbits("eval", "demo", "--scheme", "uint4g48", "--measure", "size"), "model.layers.0.self_attn.q_proj", "48")
