import json
import socket

import pytest
import torch

from fewbits import machine


def test_a_machine_is_described_in_plain_data() -> None:
    facts = machine.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"]
    assert facts["cores"] >= 1
    assert facts["threads"] >= 1
    assert facts["torch_threads"] == torch.get_num_threads()
    assert facts["memory"] > 2**28
    assert facts["torch"] == torch.__version__
    assert ("gpus" in facts) == torch.cuda.is_available()


def test_the_machine_is_not_named() -> None:
    assert socket.gethostname() not in json.dumps(machine.describe())


def test_gpus_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        name, total_memory = "Accelerator X", 2**36

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    assert machine.describe()["gpus"] == [{"name": "Accelerator X", "memory": 2**36}] * 2


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert machine._version("no-such-package-anywhere") is None
