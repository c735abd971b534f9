"""What `tune --predict` prints, from what is known, without torch."""

from typing import Any

import fewbits
from fewbits import machine, planfile, strictjson
from fewbits.cli.tables import console, mib, table
from fewbits.errors import FewbitsError
from fewbits.search.goal import Goal
from fewbits.search.pick import added
from fewbits.search.predict import Known


def predicted(model: str, known: Known, goal: Goal, *, json: bool) -> None:
    """The plan as predicted, without measuring anything."""
    choice = known.predict(goal)
    if choice is None:
        raise FewbitsError("nothing that was measured so far says which plan keeps these limits: leave out --predict once")
    space = known.costs.space
    body = [[s, f"{layers}", f"{weights:,}"] for s, layers, weights in space.counts(choice)]
    out = console()
    out.print(table(f"{model}: {space.bits(choice):.3f} bits a weight", ["scheme", "layers", "weights"], body))
    loss = added(known.loss, choice)
    out.print(f"{mib(space.nbytes(choice))} MiB, predicted loss {loss:.5g}; nothing was measured")
    if json:
        result = {
            "model": model,
            "plan": planfile.to_dict(space.plan(choice)),
            "bytes": space.nbytes(choice),
            "predicted": loss,
        }
        document([result])


def document(results: list[dict[str, Any]]) -> None:
    """The JSON document, on one line."""
    print(strictjson.dumps({"fewbits": fewbits.__version__, "machine": machine.describe(), "results": results}))
