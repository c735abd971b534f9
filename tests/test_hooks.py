"""What is done when other packages are imported: seen from a fresh process, as a user has it."""

import importlib
import importlib.util
import subprocess
import sys
import textwrap
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

import fewbits
from fewbits import hooks


def fresh(code: str) -> str:
    """What a new Python prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_fewbits_imports_nothing_heavy() -> None:
    loaded = fresh("""
        import sys, fewbits
        print(sorted({name.partition(".")[0] for name in sys.modules} & {
            "torch", "transformers", "timm", "numpy", "yaml", "safetensors", "tqdm", "rich", "jaxtyping"}))
    """)
    assert loaded == "[]"


def test_formats_schemes_and_plans_are_read_without_torch() -> None:
    assert (
        fresh("""
        import sys
        from fewbits.plan import Plan
        print(Plan.of({"*attn*": "rtn:uint4g64", "*": "keep"}), "torch" in sys.modules)
    """)
        == "*attn*=rtn:uint4g64 *=keep False"
    )


@pytest.mark.parametrize("name", fewbits.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(fewbits, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'fewbits' has no attribute 'nonsense'"):
        fewbits.nonsense  # noqa: B018


@pytest.mark.slow
def test_the_plugin_may_be_what_imports_transformers() -> None:
    """Transformers' import brings our plug-in, which imports transformers: neither may find the other half made."""
    assert (
        fresh("""
            import fewbits
            fewbits.FewbitsConfig
            from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
            print("fewbits" in AUTO_QUANTIZER_MAPPING, "fewbits" in AUTO_QUANTIZATION_CONFIG_MAPPING)
        """)
        == "True True"
    )


def test_install_twice_is_install_once() -> None:
    before = list(sys.meta_path)
    hooks.install()
    assert sys.meta_path == before
    assert sum(isinstance(finder, hooks._Finder) for finder in before) == 1


@pytest.fixture
def fake_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name whose operators cannot be loaded, in place of the real one."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("import torch\nhas = hasattr(torch.ops.torchvision, 'nms')\n")
    (package / "data.txt").write_text("data")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    return package


def test_torchvision_is_mended_before_it_runs(fake_torchvision: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(hooks, "mend_torchvision", lambda places: seen.extend(places))
    module = importlib.import_module("torchvision")
    assert seen == [fake_torchvision]
    assert module.__file__ == str(fake_torchvision / "__init__.py")
    assert importlib.util.find_spec("torchvision").submodule_search_locations == [str(fake_torchvision)]
    assert module.__spec__.loader.get_data(str(fake_torchvision / "data.txt")) == b"data"  # as the inner loader answers
    importlib.reload(module)
    assert seen == [fake_torchvision] * 2
    del sys.modules["torchvision"]


def test_the_finder_leaves_other_packages_and_missing_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = next(f for f in sys.meta_path if isinstance(f, hooks._Finder))
    assert finder.find_spec("json", None) is None
    monkeypatch.setattr(sys, "meta_path", [finder])
    assert finder.find_spec("torchvision", None) is None


def test_the_finder_asks_the_others_as_import_would(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    class Other:
        def find_spec(self, *what: object) -> ModuleSpec:
            asked.append(what)
            return ModuleSpec("torchvision", None)

    finder = hooks._Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, object(), Other()])
    assert finder.find_spec("torchvision", ["place"]).name == "torchvision"
    assert asked == [("torchvision", ["place"], None)]
    assert sys.meta_path[0] is finder  # at no moment without it: another thread may import meanwhile


def test_operators_are_declared_where_the_library_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared: list[str] = []

    class Library:
        def __init__(self, *what: str) -> None:
            assert what == ("torchvision", "FRAGMENT")

        def define(self, schema: str) -> None:
            declared.append(schema.partition("(")[0])

    monkeypatch.setattr(torch.library, "Library", Library)
    monkeypatch.setattr(hooks, "_kept_alive", [])
    hooks.mend_torchvision([tmp_path])
    assert declared == []  # nothing to load, nothing to mend
    (tmp_path / "_C.so").write_bytes(b"no library")
    hooks.mend_torchvision([tmp_path])
    assert declared == ["nms", "qnms"]
