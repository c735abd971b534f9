"""Greedy text of every causal-LM class equals that of its own generate, or is refused in one line."""

import pytest

from tests.runtime import zoo
from tests.runtime.census import census

SAMPLE = (
    "llama", "mistral", "gemma2", "mamba2", "rwkv", "recurrent_gemma", "openai-gpt", "bart", "olmo", "falcon alibi", "llama dynamic",
    "phi3 longrope",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # what transformers' models say of themselves


@pytest.mark.parametrize("name", SAMPLE)
def test_text_equals_the_models_own(name: str) -> None:
    verdicts = census(name)
    assert {each.kind for each in verdicts.values()} <= {"equal", "tie", "refused"}, verdicts
    assert verdicts["float"].kind in ("equal", "tie"), verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(zoo.names()) - set(SAMPLE)))
def test_no_class_is_silently_wrong(name: str) -> None:
    verdicts = census(name)
    if verdicts["float"].kind == "unbuilt":
        pytest.skip(f"no tiny configuration: {verdicts['float'].why}")
    assert {each.kind for each in verdicts.values()} <= {"equal", "tie", "refused"}, verdicts
