"""Two kinds of network beside each other, seed by seed: by how much FeLIF is better, and whether so few seeds tell.

    d_s = score of FeLIF - score of the rival, with the sign that makes more better, both with seed s
    mean d  ±  t(0.975, n - 1) s_d / sqrt(n)            Student's 95 % interval of the n seeds that both have

The same seed is the same split and order of sequences. Networks of different shape draw different weights to start
from, and devices too.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What is compared: a number of the result files, and how a difference of it is told."""

    path: str
    unit: str
    scale: float
    form: str


NLL = Score("test.nll", "nats a frame", -1.0, "+.3f")
ACCURACY = Score("test.accuracy", "points of accuracy", 100.0, "+.1f")


@dataclass(frozen=True)
class Comparison:
    """Experiment `first` against `second`, which `rival` names, with such `weights`."""

    task: str
    weights: str
    rival: str
    first: str
    second: str
    score: Score


@dataclass(frozen=True)
class Difference:
    """By how much the first is better, with its interval; of fewer than two seeds there is none."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """Which of the two is better, where the interval leaves that no doubt."""
        if self.low > 0:
            return "**better**"
        return "worse" if self.high < 0 else "not told"


def _named(bits: int) -> str:
    return "float" if bits == 32 else f"{bits} bits"


RIVALS = {"lif": "LIF", "rlif": "recurrent LIF"}
COMPARISONS = [
    *(Comparison("chorales", _named(bits), label, f"chorales-felif-{bits}", f"chorales-{kind}-{bits}", NLL)
      for bits in (32, 3) for kind, label in RIVALS.items()),
    *(Comparison("chorales", "float", kind.upper(), "chorales-felif-32", f"chorales-{kind}", NLL)
      for kind in ("gru", "lstm")),
    *(Comparison(task, _named(bits), label, f"{task}-felif-{bits}", f"{task}-{kind}-{bits}", ACCURACY)
      for task in ("braille27", "braille7") for bits in (32, 8, 4, 3) for kind, label in RIVALS.items()),
]  # fmt: skip
"""FeLIF against each rival that has the same task and weights."""
BITS_COST = [
    Comparison(task, "3 bits", label, f"{task}-{kind}-3", f"{task}-{kind}-32", score)
    for task, score in (("chorales", NLL), ("braille27", ACCURACY), ("braille7", ACCURACY))
    for kind, label in {"felif": "FeLIF", **RIVALS}.items()
]
"""Each kind on 3-bit RRAM against itself with float weights."""


def difference(first: Mapping[int, float], second: Mapping[int, float], scale: float) -> Difference | None:
    """Of scores by seed, `scale` times their difference over the seeds that both have; None where there is none."""
    apart = [scale * (first[seed] - second[seed]) for seed in sorted(first.keys() & second.keys())]
    if not apart:
        return None
    mean = statistics.mean(apart)
    if len(apart) < 2:
        return Difference(mean, -math.inf, math.inf, len(apart))
    from scipy.stats import t  # a second of imports, for whom they are

    half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
    return Difference(mean, mean - half, mean + half, len(apart))
