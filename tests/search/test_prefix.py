import torch
from torch import Tensor, nn

from fewbits.search.prefix import Prefix


class Counted(nn.Linear):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def blocks() -> nn.Module:
    return nn.Sequential(nn.Sequential(*(Counted(4, 4) for _ in range(3))), nn.Linear(4, 2))


def test_blocks_before_a_layer_answer_from_memory() -> None:
    model, x = blocks(), torch.ones(1, 4)
    prefix = Prefix(model)
    prefix.record(model, [lambda: model(x)])
    start = prefix.start_of(model[0][1])
    expected, before = model(x), [block.calls for block in model[0]]
    with prefix.skipping(start, 0):
        assert torch.equal(model(x), expected)
    assert start == 1 and [b.calls - n for b, n in zip(model[0], before, strict=True)] == [0, 1, 1]
    assert prefix.start_of(model[1]) == 3


def test_blocks_that_run_twice_are_never_skipped() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Counted(4, 4), Counted(4, 4)])

        def forward(self, x: Tensor) -> Tensor:
            for block in (*self.blocks, *self.blocks):
                x = block(x)
            return x

    model, x = Twice(), torch.ones(1, 4)
    prefix = Prefix(model)
    prefix.record(model, [lambda: model(x)])
    calls = model.blocks[0].calls
    with prefix.skipping(1, 0):
        model(x)
    assert model.blocks[0].calls == calls + 2
