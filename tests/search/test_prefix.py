import torch
from torch import Tensor, nn

from fewbits.search.prefix import Prefix


class Counted(nn.Linear):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Blocks(nn.Module):
    """Three blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Counted(4, 4) for _ in range(3)])
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_blocks_before_a_layer_answer_from_memory() -> None:
    model, x = Blocks(), torch.ones(1, 4)
    prefix = Prefix(model)
    prefix.record(model, [lambda: model(x)])
    start = prefix.start_of(model.blocks[1])
    expected = model(x)
    before = [block.calls for block in model.blocks]
    with prefix.skipping(start, 0):
        assert torch.equal(model(x), expected)
    assert start == 1 and [b.calls - n for b, n in zip(model.blocks, before, strict=True)] == [0, 1, 1]
    assert prefix.start_of(model.head) == 3


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
