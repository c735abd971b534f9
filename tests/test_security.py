"""The promises of SECURITY.md, each held under Python's audit hooks in a process of its own (see security_driver.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
Report = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """How every case ended. The hub is not switched off: a look-up would be an event."""
    place = tmp_path_factory.mktemp("security")
    cache = {"XDG_CACHE_HOME": str(place / "cache"), "HF_HOME": str(place / "cache" / "hf"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.security_driver", str(place)],
        cwd=ROOT,
        env={**os.environ, **cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def quiet(report: Report, name: str) -> str:
    """The outcome of a case in which nothing forbidden happened."""
    if name not in report:
        pytest.skip("needs timm")
    assert report[name]["seen"] == []
    assert report[name]["canaries"] == []
    return report[name]["outcome"]


@pytest.mark.parametrize("name", ["plain", "saved", "from_pretrained", "shapes", "quantize", "timm weights elsewhere"])
def test_a_folder_is_loaded_without_code_network_pickles_or_writes(report: Report, name: str) -> None:
    assert quiet(report, name) == "loaded"


def test_no_network_for_the_original_that_a_folder_names(report: Report) -> None:
    assert "cannot load the original model" in quiet(report, "eval of a folder whose original is on the hub")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("code", "needs code from its own folder"),
        ("code of a saved folder", "needs code from its own folder"),
        ("code of a tokenizer", "its tokenizer cannot be loaded"),
        ("code of another repository, trusted", "auto_map names code of another repository"),
        ("code of a kernel", "names code on the hub"),
    ],
)
def test_no_code_of_a_folder_without_the_flag(report: Report, name: str, said: str) -> None:
    assert said in quiet(report, name)


def test_trust_in_a_folder_is_none_in_the_original_that_it_names(report: Report) -> None:
    assert "cannot load the original model" in quiet(report, "code of an original, trusted")


def test_no_weights_from_elsewhere(report: Report) -> None:
    assert "weights of a backbone are not fetched" in quiet(report, "weights of a backbone")


@pytest.mark.parametrize(
    ("name", "said"), [("pickle", "a pickle can run code"), ("pickle in an index", "only safetensors are read")]
)
def test_no_pickles(report: Report, name: str, said: str) -> None:
    assert said in quiet(report, name)


def test_the_hooks_see_code_that_is_trusted(report: Report) -> None:
    """The control: with the flag the same folder's code runs, and the hooks notice."""
    found = report["control: code, trusted"]
    assert found["canaries"] and any(event.startswith(("exec", "write")) for event in found["seen"])
