import contextlib
from pathlib import Path

import torch
from torch import nn

from fewbits.search.digest import model_digest
from fewbits.search.store import Store, store_for
from tests import tiny


def test_a_value_is_made_once_and_read_by_the_next_run(tmp_path: Path) -> None:
    first = Store(tmp_path)
    assert first.get("a", lambda: [1.5, 2]) == [1.5, 2] and first.get("a", lambda: None) == [1.5, 2]
    second = Store(tmp_path)
    assert second.get("a", lambda: "made anew") == [1.5, 2] and second.made == 0
    assert second.get("b", lambda: 0.1 + 0.2) == Store(tmp_path).get("b", lambda: 0) == 0.1 + 0.2


def test_a_file_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    Store(tmp_path).get("a", lambda: 1)
    (file,) = tmp_path.glob("*.json")
    file.write_text(file.read_text()[:-3])
    assert Store(tmp_path).get("a", lambda: 2) == Store(tmp_path).get("a", lambda: 3) == 2


def test_a_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with contextlib.suppress(ZeroDivisionError):
        store.get("a", lambda: 1 / 0)
    assert not list(tmp_path.iterdir()) and store.get("a", lambda: 5) == 5


def test_other_parts_have_another_store(tmp_path: Path) -> None:
    assert store_for("x", cache=tmp_path).folder != store_for("y", cache=tmp_path).folder


def test_the_digest_tells_weights_names_and_types() -> None:
    def model(value: float = 0.5, name: str = "a", dtype: torch.dtype = torch.float32) -> nn.Module:
        made = nn.Module()
        made.register_buffer(name, torch.tensor([value, 1.0], dtype=dtype))
        return made

    base = model_digest(model())
    assert base == model_digest(model()) and base.startswith("sha256:")
    assert len({base, model_digest(model(0.25)), model_digest(model(name="b")), model_digest(model(dtype=torch.float16))}) == 4


def test_the_digest_tells_settings_that_no_tensor_holds() -> None:
    class Half(nn.Module):
        def __init__(self, *, base: float = 1e4, stride: int = 1) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 1, 1, stride=stride)
            nn.init.ones_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)
            self.register_buffer("frequencies", torch.tensor([base]), persistent=False)

    base = model_digest(Half())
    assert base == model_digest(Half())
    assert len({base, model_digest(Half(base=2e4)), model_digest(Half(stride=2))}) == 3


def test_the_digest_tells_the_configuration() -> None:
    def model(theta: float) -> nn.Module:
        made = tiny.llama()
        made.config.router_jitter = theta
        return made

    assert model_digest(model(1.0)) == model_digest(model(1.0)) != model_digest(model(2.0))
