import json
import subprocess
import sys
from pathlib import Path

import pytest

import fewbits as library
from fewbits.measure import size
from tests import tiny
from tests.cli.running import Runner, refused


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model in a folder, with the tokenizer of the demo cut to its vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = {"<unk>": 0, "<bos>": 1, "<eos>": 2, **{f"w{i}": i for i in range(3, tiny.VOCABULARY)}}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")
    tiny.llama().save_pretrained(folder)  # type: ignore[operator]
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(" ".join(f"w{3 + (i * i) % 90}" for i in range(3000)))
    return file


@pytest.fixture
def small(model: Path, text: Path) -> tuple[object, ...]:
    """The model and options that make the search short."""
    short = ("--tokens", 256, "--max-tokens", 400, "--samples", 4, "--protocol", "windows:32")
    candidates = ("--candidate", "mse:uint2g32", "--candidate", "mse:uint4g32", "--candidate", "rtn:uint8g32")
    return (model, "--text", text, *short, *candidates)


def test_the_model_its_plan_and_the_report_are_saved(fewbits: Runner, small: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = fewbits("tune", *small, "--limit", "bits<=5", "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert "bits<=5" in ended.out and "holds" in ended.out and "best uniform" in ended.out and "predicted loss" in ended.out
    (result,) = ended.document["results"]
    assert result["tune"]["limits"][0]["holds"] and result["tune"]["target"] == "kl"
    model = library.load(out)
    assert size(model).value == result["measures"]["size"]["value"] == result["tune"]["chosen"]["bytes"]
    files = {p.name for p in out.iterdir()}
    assert {"plan.yaml", "report.html", "report.md", "tune.json", "tune.csv", "model.safetensors", "tokenizer.json"} <= files
    kept = json.loads((out / "tune.json").read_text())
    assert kept["command"].startswith("fewbits tune") and kept["tune"]["digests"].keys() >= {"model", "data", "verified on"}
    page = (out / "report.html").read_text()
    assert "sha256:" in page and "fewbits tune" in page and page.count("<svg") >= 6
    assert "<script src" not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_limit_measures_little_anew_and_predict_nothing(fewbits: Runner, small: tuple[object, ...]) -> None:
    assert fewbits("tune", *small, "--limit", "bits<=5").code == 0
    ended = fewbits("tune", *small, "--limit", "bits<=5", "--json")
    assert ended.document["results"][0]["tune"]["seconds"]["measured anew"] == 0
    ended = fewbits("tune", *small, "--limit", "bits<=4", "--predict", "--json")
    assert ended.code == 0 and "nothing was measured" in ended.out
    assert ended.document["results"][0]["predicted"] > 0


def test_a_question_asked_before_is_answered_without_torch(fewbits: Runner, small: tuple[object, ...]) -> None:
    goal = ("--limit", "ppl<=+30%", "--limit", "size<=90%")
    assert fewbits("tune", *small, *goal).code == 0
    told = fewbits("tune", *small, *goal, "--predict").out
    words = [str(word) for word in ("tune", *small, *goal, "--predict")]
    script = (
        f"import sys; sys.argv = {['fewbits', *words]!r}\n"
        "from fewbits.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == told and "predicted loss" in told


def test_that_the_original_keeps_a_limit_is_no_answer(fewbits: Runner, small: tuple[object, ...]) -> None:
    assert fewbits("tune", *small, "--seed", 1, "--limit", "bits<=5").code == 0
    refused(fewbits("tune", *small, "--seed", 1, "--limit", "ppl<=+30%", "--predict"), "leave out --predict once")


def test_changed_files_are_another_question(fewbits: Runner, small: tuple[object, ...], text: Path) -> None:
    words = ("tune", *small, "--limit", "bits<=5", "--predict", "--json")
    before = fewbits(*words).document["results"][0]["predicted"]
    text.write_text(text.read_text()[: -len(" w3") * 200])
    assert fewbits(*words).document["results"][0]["predicted"] != before


@pytest.mark.parametrize(
    ("options", "helps"),
    [
        ((), "--limit"),
        (("--limit", "size"), "MEASURE<=VALUE"),
        (("--limit", "size>=3MiB"), "size<=3MiB"),
        (("--limit", "kl<=1", "--minimize", "happiness"), "happiness"),
        (("--limit", "bits<=4", "--maximize", "accuracy", "--minimize", "size"), "not both"),
        (("--limit", "bits<=4", "--predict", "-o", "x"), "--predict"),
        (("--limit", "bits<=4", "--candidate", "uint9"), "no 9 bits"),
        (("--limit", "size<=10B"), "nearest"),
        (("--limit", "kl<=1e-9", "--limit", "bits<=3"), "nearest"),
        (("--limit", "accuracy>=10%"), "accuracy is not measured"),
        (("--limit", "bits<=4", "--images", "x.npz"), "--text"),
        (("--limit", "bits<=4", "--verify", "nowhere.txt"), "nowhere.txt"),
        (("--limit", "memory<=4MiB", "--context", "4096"), "positions"),
        (("--limit", "bits<=4", "--together", "*.nothing"), "*.nothing"),
    ],
)
def test_what_is_refused(fewbits: Runner, small: tuple[object, ...], options: tuple[str, ...], helps: str) -> None:
    refused(fewbits("tune", *small, *options), helps)


def test_a_folder_that_is_taken_is_refused_before_the_work(fewbits: Runner, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    refused(fewbits("tune", "demo", "--limit", "bits<=4", "-o", tmp_path), str(tmp_path))
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_classifier_needs_images(fewbits: Runner, tmp_path: Path) -> None:
    tiny.vit().save_pretrained(tmp_path / "vit")  # type: ignore[operator]
    refused(fewbits("tune", tmp_path / "vit", "--limit", "bits<=4"), "--images")


def test_demo_vision_needs_no_options(fewbits: Runner) -> None:
    ended = fewbits("tune", "demo-vision", "--limit", "accuracy>=-2pt", "--minimize", "size", "--json", "--samples", "16")
    assert ended.code == 0, ended.err
    assert ended.document["results"][0]["tune"]["limits"][0]["holds"]
