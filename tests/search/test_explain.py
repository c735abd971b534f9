import pytest
import torch

from fewbits.search.explain import layer_facts
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.tiny import space


def test_what_stands_out_is_named() -> None:
    model = tiny.llama()
    weight = model.get_parameter("model.layers.0.mlp.up_proj.weight")
    weight.data[:, 5] *= 40  # an input channel
    model.get_parameter("model.layers.1.input_layernorm.weight").data[7] = 30.0  # an input that is loud
    facts = {fact.name: fact for fact in layer_facts(Trial(model, space(model)), tiny.tokens())}
    spiked, loud = facts["model.layers.0.mlp.up_proj"], facts["model.layers.1.self_attn.k_proj"]
    assert spiked.inputs == 1 and spiked.kurtosis > 5 and "heavy tails" in spiked.why
    assert loud.loud_inputs == 1 and loud.loudest is not None and loud.loudest > 10 and "1 loud inputs" in loud.why
    assert facts["model.layers.0.self_attn.o_proj"].inputs == 0


def test_kurtosis_of_known_distributions() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(512, 64))
    trial = Trial(model, space(model))
    trial.weight("0").data.normal_()
    assert layer_facts(trial, None)[0].kurtosis == pytest.approx(0, abs=0.15)
    trial.weight("0").data.uniform_(-1, 1)
    assert layer_facts(trial, None)[0].kurtosis == pytest.approx(-1.2, abs=0.05)


def test_convolutions_have_no_input_channels_to_listen_to() -> None:
    model = tiny.cnn()
    assert [f.loud_inputs is None for f in layer_facts(Trial(model, space(model)), tiny.images(16))] == [True] * 3 + [False]
