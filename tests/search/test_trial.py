import pytest
import torch

import fewbits
from fewbits.plan import Rule
from fewbits.runtime import cpu
from fewbits.search.candidates import space_of
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.test_candidates import mixed
from tests.search.tiny import CANDIDATES


@pytest.mark.parametrize("name", list(tiny.MODELS))
def test_a_trial_answers_as_the_quantized_model_does(name: str) -> None:
    make, inputs = tiny.MODELS[name]
    model = make()
    space = space_of(model, CANDIDATES)
    trial = Trial(model, space)
    choice = mixed(space)
    trial.apply(choice)
    with cpu.enabled(False):
        expected = tiny.output(fewbits.quantize(make(), space.plan(choice)), inputs())
    assert torch.allclose(tiny.output(trial.model, inputs()), expected, atol=1e-5)
    trial.apply(space.kept())
    assert torch.equal(tiny.output(trial.model, inputs()), tiny.output(make(), inputs()))


def test_the_model_is_left_alone() -> None:
    model = tiny.llama()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trial = Trial(model, space_of(model, CANDIDATES))
    trial.apply(trial.space.uniform(CANDIDATES[0]))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_layers_that_rules_fix_are_quantized_here_too() -> None:
    rules = [Rule.parse("*down_proj=rtn:uint2g32")]
    model = tiny.llama()
    trial = Trial(model, space_of(model, CANDIDATES, rules=rules))
    with cpu.enabled(False):
        expected = tiny.output(fewbits.quantize(tiny.llama(), {"*down_proj": "rtn:uint2g32"}), tiny.tokens())
    assert torch.allclose(tiny.output(trial.model, tiny.tokens()), expected, atol=1e-5)


def test_activations_are_rounded_where_the_scheme_says_so() -> None:
    model = tiny.llama()
    space = space_of(model, ["rtn:int8a8"])
    trial = Trial(model, space)
    trial.apply(space.uniform("rtn:int8a8"))
    with cpu.enabled(False):
        expected = tiny.output(fewbits.quantize(tiny.llama(), "rtn:int8a8"), tiny.tokens())
    assert torch.allclose(tiny.output(trial.model, tiny.tokens()), expected, atol=1e-5)
    trial.apply(space.kept())
    assert torch.equal(tiny.output(trial.model, tiny.tokens()), tiny.output(tiny.llama(), tiny.tokens()))
