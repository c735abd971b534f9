"""What searching plans brings, each figure on data that the search did not use.

    python benchmarks/search.py MODELS DATA [NAME...] [--part PART]... [--cache DIR] [--device cuda]

MODELS is a folder of models. DATA holds `calibration.txt` and `cifar10_calibration.npz`, by which plans are chosen and on which
limits are held, and `peps.txt` and `cifar10_test.npz`, on which every figure below is scored: the first 20,000 tokens in
windows of 512, all 10,000 images, float32. Parts:

    kl        at the bytes of hqq:uint4g64, uint3g64 and uint2g64: KL of the tuned plan, and of the best uniform plan of no
              more bytes over rtn, hqq and mse for uint, mse for int, absmax and mse for nf, groups of 16 to 128 and none,
              scales in f16 and 8 bits (the three that lose least on the data chosen by are scored, the best score counts)
    limits    "keep 99 % of the accuracy" (classifiers) and "perplexity at most 2 % up" (language models): bytes, and whether
              the limit holds on the scoring data; beside it the smallest uniform plan that keeps it as surely as the tuned one
              (on the data limits are held on, with 95 % certainty), and the smallest that turns out to keep it on the scoring
              data, which nobody could have chosen
    hand      plans made by hand, against the plan of the frontier at their bytes
    rank      30 random plans: rank correlation of predicted and scored KL

What was measured is kept under --cache, so that a run that was stopped goes on. The last line is one JSON document.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from fewbits import data, models
from fewbits.measure.windows import cut
from fewbits.models import Loaded
from fewbits.search import Goal, Search, Settings, Space, TuneData, image_data, parse_limit, space_of, text_data
from fewbits.search.agreement import rank_correlation
from fewbits.search.costs import Costs
from fewbits.search.digest import model_digest
from fewbits.search.evidence import Evidence
from fewbits.search.handmade import handmade_plans
from fewbits.search.judge import ImageVerification, Judge, TextVerification, Verification
from fewbits.search.limits import Limit
from fewbits.search.measured import Bench
from fewbits.search.objective import digest_of
from fewbits.search.pick import added, best_within
from fewbits.search.store import Store, store_for
from fewbits.search.trial import Trial
from fewbits.search.verdict import judge_limits

NAMES = ("llama-28m", "gpt2-9m", "vit-cifar10", "mobilenetv2-cifar10")
PARTS = ("kl", "limits", "hand", "rank")
AT = {"hqq:uint4g64": 0.15, "hqq:uint3g64": 0.25, "hqq:uint2g64": 0.40}  # and the margin that is wanted
GROUPS = ("g16", "g32", "g64", "g128", "")
UNIFORM = [
    f"{method}:{kind}{bits}{group}{meta}"
    for kind, methods in (("uint", ("rtn", "hqq", "mse")), ("int", ("mse",)), ("nf", ("absmax", "mse")))
    for bits in ((2, 3, 4) if kind == "nf" else (2, 3, 4, 5, 6, 8))
    for group in GROUPS
    for meta in ("", "/q8")
    for method in methods
]
NEAR = 0.88  # of the bytes at least: a smaller uniform plan is not looked at
SCORED = 3  # uniform plans that are scored
RANDOM = 30
FEW_TOKENS, FEW_IMAGES = 5_000, 2_000  # where many plans are scored


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model with its data: to search on, to screen uniform plans by, to score on, and less of that for many plans."""

    name: str
    loaded: Loaded
    search: TuneData
    screen: TuneData
    score: Verification
    few: Verification


def case(folder: Path, texts: Path, name: str, device: str) -> Case:
    loaded = models.load(folder / name, device=device)
    if loaded.task == "causal-lm":
        chosen = data.load_text(str(texts / "calibration.txt"), tokenizer=loaded.tokenizer, max_tokens=120_000)
        scored = data.load_text(str(texts / "peps.txt"), tokenizer=loaded.tokenizer, max_tokens=20_000)
        return Case(
            name=name,
            loaded=loaded,
            search=text_data(chosen.ids, bos=chosen.bos),
            screen=text_data(chosen.ids, bos=chosen.bos, tokens=1024),
            score=TextVerification(cut=cut(scored.ids, "windows:512", bos=scored.bos)),
            few=TextVerification(cut=cut(scored.ids[:FEW_TOKENS], "windows:512", bos=scored.bos)),
        )
    kind = {"processor": loaded.processor, "labels": loaded.labels, "num_classes": loaded.num_classes}
    chosen = data.load_images(str(texts / "cifar10_calibration.npz"), **kind)
    scored = data.load_images(str(texts / "cifar10_test.npz"), **kind)
    pixels = chosen.pixels(0, len(chosen))
    batches = list(scored.batches(100))
    return Case(
        name=name,
        loaded=loaded,
        search=image_data(pixels, chosen.labels),
        screen=image_data(pixels, chosen.labels, choose=100),
        score=ImageVerification(batches=batches, digest=digest_of(batches)),
        few=ImageVerification(batches=batches[: FEW_IMAGES // 100], digest=digest_of(batches[: FEW_IMAGES // 100])),
    )


class Scoring:
    """Plans of one space on the scoring data, and on the data that uniform plans are screened by."""

    def __init__(self, case: Case, space: Space, store: Store) -> None:
        self.space, self.trial = space, Trial(case.loaded.model, space)
        self.screen = Bench(self.trial, case.screen.choose, store)
        self.full, self.few = Judge(self.trial, case.score, store), Judge(self.trial, case.few, store)
        self.held = Judge(self.trial, case.search.verify, store)

    def best_uniform(self, cap: int, scheme: str) -> tuple[str, Evidence]:
        """The uniform plan of no more bytes that scores best; the scheme whose bytes these are is asked too."""
        fixed = self.space.fixed
        plans = {name: self.space.uniform(name) for name in self.space.candidates}
        near = {n: c for n, c in plans.items() if NEAR * (cap - fixed) <= self.space.nbytes(c) - fixed <= cap - fixed}
        order = sorted(near, key=lambda n: self.screen.loss(near[n]))[:SCORED]
        found = {name: self.full.evidence(near[name]) for name in dict.fromkeys([*order, scheme])}
        name = min(found, key=lambda n: found[n].value("kl"))
        return name, found[name]


def at_equal_bytes(case: Case, search: Search, mine: Scoring, uniform: Scoring) -> list[dict[str, Any]]:
    """KL of the tuned and of the best uniform plan at the bytes of three schemes."""
    rows = []
    for scheme, wanted in AT.items():
        cap = uniform.space.nbytes(uniform.space.uniform(scheme))
        name, theirs = uniform.best_uniform(cap, scheme)
        start = perf_counter()
        tuned = search.run(Goal.of([parse_limit(f"size<={cap}")]))
        took = perf_counter() - start
        kl, best = mine.full.evidence(tuned.chosen.choice).value("kl"), theirs.value("kl")
        plain = uniform.full.evidence(uniform.space.uniform(scheme)).value("kl")
        gain = 1 - kl / best
        verdict = "ok" if gain >= wanted else f"wanted {100 * wanted:.0f} %"
        print(
            f"{case.name:20s} at {cap:>10,} B of {scheme}: tuned {kl:.5f} ({tuned.chosen.nbytes:,} B), best uniform {name}"
            f" {best:.5f}, {scheme} itself {plain:.5f}: {100 * gain:.1f} % less, {verdict}; {took:.0f} s",
            flush=True,
        )
        rows.append({"model": case.name, "part": "kl", "at": scheme, "bytes": tuned.chosen.nbytes, "cap": cap, "kl": kl})
        rows[-1] |= {"uniform": name, "uniform_kl": best, "scheme_kl": plain, "gain": gain, "wanted": wanted}
    return rows


def limits(case: Case, search: Search, mine: Scoring, uniform: Scoring) -> list[dict[str, Any]]:
    """The smallest plan that keeps the quality, held on the calibration data, then scored."""
    text = case.loaded.task == "causal-lm"
    limit = parse_limit("ppl<=+2%" if text else "accuracy>=-1%")
    tuned = search.run(Goal.of([limit], minimize="size"))
    original, scored = mine.full.original(), mine.full.evidence(tuned.chosen.choice)
    value, bound = scored.value(limit.measure), limit.bound(original.value(limit.measure))
    kept = value <= bound if text else value >= bound
    print(
        f"{case.name:20s} {limit}: {limit.measure} {value:.4f} against {bound:.4f} on the scoring data,"
        f" {'holds' if kept else 'BROKEN'}; {tuned.chosen.nbytes:,} B",
        flush=True,
    )
    row = {"model": case.name, "part": "limits", "limit": str(limit), "value": value, "bound": bound, "held": kept}
    row["bytes"] = tuned.chosen.nbytes
    for how, judge in (("as surely", uniform.held), ("by chance", uniform.full)):
        name, nbytes = smallest_uniform(uniform, judge, limit, sure=how == "as surely", least=tuned.chosen.nbytes)
        share = tuned.chosen.nbytes / nbytes
        print(
            f"{'':20s} smallest uniform plan that keeps it {how}: {name}, {nbytes:,} B: {100 * share:.1f} % of it", flush=True
        )
        row[how] = {"uniform": name, "bytes": nbytes, "share": share}
    return [row]


def smallest_uniform(uniform: Scoring, judge: Judge, limit: Limit, *, sure: bool, least: int) -> tuple[str, int]:
    """The smallest uniform plan that keeps a limit on the data of a judge: with certainty, or as it happens to measure.

    Of several plans of like size the one that loses least on the screening data is asked.
    """
    space, costs = uniform.space, Costs(space=uniform.space)
    plans = sorted((space.nbytes(space.uniform(n)), n) for n in space.candidates if not n.startswith("rtn"))
    for nbytes, name in plans:
        if nbytes >= 0.8 * least and _hopeful(uniform, name):
            choice = space.uniform(name)
            found = judge_limits([limit], judge.evidence(choice), judge.original(), costs, choice, {})[0]
            end = found.worst if sure else found.value
            if end <= found.bound if limit.is_most else end >= found.bound:
                return name, nbytes
    return "keep", space.nbytes(space.kept())


def _hopeful(uniform: Scoring, name: str) -> bool:
    """Whether no other plan of as many bytes or fewer loses clearly less on the screening data."""
    space = uniform.space
    mine, size = uniform.screen.loss(space.uniform(name)), space.nbytes(space.uniform(name))
    rivals = [n for n in space.candidates if 0.97 * size <= space.nbytes(space.uniform(n)) <= size and not n.startswith("rtn")]
    return mine <= 1.1 * min(uniform.screen.loss(space.uniform(n)) for n in rivals)


def by_hand(case: Case, search: Search, mine: Scoring) -> list[dict[str, Any]]:
    """Each plan made by hand, and the plan of the frontier at its bytes."""
    rows = []
    costs = Costs(space=mine.space)
    for name, choice in handmade_plans(mine.space).items():
        limit = parse_limit(f"size<={mine.space.nbytes(choice)}")
        ours = best_within(search.sensitivities.loss, [costs.side(limit)])
        assert ours is not None
        theirs, kl = (mine.few.evidence(c).value("kl") for c in (choice, ours))
        print(f"{case.name:20s} {name}: {theirs:.5f}, frontier {kl:.5f}: {'above' if theirs > kl else 'BELOW'}", flush=True)
        rows.append({"model": case.name, "part": "hand", "plan": name, "kl": theirs, "frontier_kl": kl, "above": theirs > kl})
    return rows


def ranks(case: Case, search: Search, mine: Scoring) -> list[dict[str, Any]]:
    """Random plans: for each a range of bits is drawn, then an option of every layer within it."""
    rng = random.Random(0)
    plans = [random_plan(mine.space, rng) for _ in range(RANDOM)]
    predicted = [added(search.sensitivities.loss, plan) for plan in plans]
    scored = [mine.few.evidence(plan).value("kl") for plan in plans]
    found = rank_correlation(predicted, scored)
    print(f"{case.name:20s} {RANDOM} random plans: rank correlation {found:.4f} of predicted and scored KL", flush=True)
    return [{"model": case.name, "part": "rank", "plans": RANDOM, "rank_correlation": found}]


def random_plan(space: Space, rng: random.Random) -> tuple[int, ...]:
    """Every layer an option at random, from a window of options that is drawn first: plans of all sizes."""
    low = rng.uniform(0, 0.8)
    return tuple(
        min(len(unit.options) - 2, int(rng.uniform(low, low + 0.35) * (len(unit.options) - 1))) for unit in space.units
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # else convolutions on a GPU are not float32
    parts = asked.part or list(PARTS)
    rows: list[dict[str, Any]] = []
    for name in asked.names:
        one = case(asked.models, asked.data, name, asked.device)
        start = perf_counter()
        search = Search(one.loaded.model, one.search, space_of(one.loaded.model), settings=Settings(), cache=asked.cache)
        print(f"{name:20s} sensitivities of {len(search.space.units)} layers: {perf_counter() - start:.0f} s", flush=True)
        store = store_for(model_digest(one.loaded.model), "scoring", cache=asked.cache)
        mine = Scoring(one, search.space, store)
        works = {
            "rank": lambda o=one, s=search, m=mine: ranks(o, s, m),
            "hand": lambda o=one, s=search, m=mine: by_hand(o, s, m),
        }
        if {"kl", "limits"} & set(parts):
            uniform = Scoring(one, space_of(one.loaded.model, UNIFORM), store)
            works["kl"] = lambda o=one, s=search, m=mine, u=uniform: at_equal_bytes(o, s, m, u)
            works["limits"] = lambda o=one, s=search, m=mine, u=uniform: limits(o, s, m, u)
        for part in parts:
            rows += works[part]()
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": asked.device}
    print(json.dumps(machine | {"results": rows}))


if __name__ == "__main__":
    main()
