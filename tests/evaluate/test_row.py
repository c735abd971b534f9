"""What a row is called."""

from torch import nn

import fewbits
from fewbits.apply import plan_of
from fewbits.evaluate.row import Row


def row_of(rules: dict[str, str]) -> Row:
    model = fewbits.quantize(nn.Sequential(*(nn.Linear(64, 64) for _ in range(6))), rules)
    return Row(model="six", plan=plan_of(model), measures={})


def test_few_rules_are_told_one_by_one() -> None:
    assert row_of({"*": "rtn:int8"}).short_label == "rtn:int8"
    assert row_of({"0": "rtn:int4", "*": "rtn:int8"}).short_label == row_of({"0": "rtn:int4", "*": "rtn:int8"}).label


def test_of_many_rules_the_schemes_of_most_layers() -> None:
    row = row_of({"0": "rtn:int4", "1": "rtn:int3", "2": "rtn:int5", "3": "rtn:int4", "4": "rtn:int2", "5": "rtn:int4"})
    assert row.short_label == "mixed: 3 x rtn:int4, 1 x rtn:int3, 1 x rtn:int5, ..."
    assert "5=rtn:int4" in row.label
    assert Row(model="six", plan=None, measures={}).short_label == "as it is"
