"""What a per cent of a device parameter is worth to a trained network: slope, tolerance, spread, each with its error.

    slope       a of the least squares [S(h) - S(-h)] / 2 = a h + c h^3 over the steps h up to H
    tolerance   the smallest |x| from which on, as far as was tried, S(x) is worse than S(0) by the allowed cost
    spread      E[S] - S(0) at device-to-device sigma: (sigma / sigma_0)^2 of what pairs of opposite devices show at
                sigma_0, (S(z) + S(-z)) / 2 - S(0); from chip to chip it varies by (S(z) - S(-z)) / 2, sigma / sigma_0

Small steps drown in spikes that change their millisecond: any nudge changes some, so that this noise is the same at
every step. Large ones bend further than the third order. H is the largest step whose slope agrees with that of every
smaller one; they agree where no difference, in units of its standard error, is larger than 95 % of the draws scatter.
Errors come from test pieces drawn anew, the same ones for every x and every run. With several runs the interval is
Student's over their slopes, so over seeds; with one it is the middle 95 % of the draws, so over test pieces.

Source: Lepskii, Theory Probab. Appl. 35, 454 (1991), for the choice of H.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from bruno_spice.training.codesign.response import Moves, Pieces

Array = NDArray[np.float64]

PER_CENT = 0.01
DRAWS = 1000
"""Of test pieces."""
AGREEMENT = 0.95
"""Share of draws whose slopes differ by less, where they agree."""
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Lever:
    """One parameter's worth to the score; shares are of its value, None where a figure does not exist."""

    name: str
    slope: float
    """Change of the score for +1 %."""
    slope_low: float
    slope_high: float
    """95 % interval of that."""
    helps: str
    """Which way the score gets better: ``more``, ``less``, or ``not told`` where the interval holds 0."""
    step: float
    """The largest step that the slope is taken from."""
    steps_agree: int
    """Of the steps tried, how many from the smallest on give one slope."""
    curvature: float
    """Second derivative at that step, for 1 %: S(h) + S(-h) - 2 S(0) over h^2."""
    noise: float
    """Standard error of the slope, over test pieces."""
    tolerance: float | None
    """Share at which the score is worse by the allowed cost; None: not within the steps tried."""
    tolerance_side: str
    """Which way that is: ``more``, ``less``, or empty."""
    tolerance_low: float | None
    tolerance_high: float | None
    """Of the seeds the least and the largest, or 95 % interval over test pieces; None: beyond the steps tried."""
    spread_mean: float | None
    """Expected change of the score where devices differ by 1 %."""
    spread_error: float | None
    """Its standard error over the draws of devices."""
    spread_chips: float | None
    """Standard deviation of the score from chip to chip there."""
    curve: list[tuple[float, float]]
    """(x, change of the score), the mean over runs."""


def lever(name: str, runs: Sequence[Moves], cost: float, higher_is_better: bool, spread: float, seed: int = 0) -> Lever:
    """What `runs`, one network each, say of the parameter `name`; `spread` is the sigma of their drawn devices."""
    steps = runs[0].steps
    pieces = len(runs[0].at_card.total)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(pieces, np.full(pieces, 1.0 / pieces), DRAWS).astype(np.float64)
    whole = np.ones((1, pieces))
    curves = np.stack([_curve(run, whole)[0] for run in runs])  # (runs, 2 m + 1), x from the lowest
    drawn = np.mean([_curve(run, draws) for run in runs], axis=0)  # (draws, 2 m + 1)
    chosen = _step(_slopes(drawn, steps), _slopes(curves.mean(0)[None], steps)[0])
    each = _slopes(curves, steps)[:, chosen]
    low, high = interval(each) if len(runs) > 1 else np.quantile(_slopes(drawn, steps)[:, chosen], TAILS)
    mean = curves.mean(0)
    sign = -1.0 if higher_is_better else 1.0
    x = np.concatenate([-steps[::-1], [0.0], steps])
    within, side = tolerance(x, sign * (mean - mean[len(steps)]), cost)
    others = [tolerance(x, sign * (c - c[len(steps)]), cost)[0] for c in (curves if len(runs) > 1 else drawn)]
    known = np.array([np.inf if other is None else other for other in others])
    least, most = (known.min(), known.max()) if len(runs) > 1 else np.quantile(known, TAILS, method="nearest")
    h, middle = steps[chosen] / PER_CENT, len(steps)
    better = sign * np.array([low, high])
    return Lever(
        name=name,
        slope=float(each.mean()),
        slope_low=float(low),
        slope_high=float(high),
        helps="less" if better.min() > 0 else "more" if better.max() < 0 else "not told",
        step=float(steps[chosen]),
        steps_agree=int(chosen) + 1,
        curvature=float((mean[middle + 1 + chosen] + mean[middle - 1 - chosen] - 2 * mean[middle]) / h**2),
        noise=float(_slopes(drawn, steps)[:, chosen].std(ddof=1)),
        tolerance=within,
        tolerance_side=side,
        tolerance_low=float(least) if np.isfinite(least) else None,
        tolerance_high=float(most) if np.isfinite(most) else None,
        **_spread(runs, spread),
        curve=[(float(a), float(b)) for a, b in zip(x, mean - mean[middle], strict=True)],
    )


def _curve(run: Moves, counts: Array) -> Array:
    """Scores (draws, 2 m + 1) from the lowest x to the highest, test pieces taken `counts` (draws, n) times."""
    order: list[Pieces] = [*run.below[::-1], run.at_card, *run.above]
    return np.stack([each.drawn(counts) for each in order], axis=-1)


def _slopes(curves: Array, steps: Array) -> Array:
    """Slopes (..., m) of `curves` (..., 2 m + 1) for 1 %, each from the steps up to it."""
    m = len(steps)
    odd = (curves[..., m + 1 :] - curves[..., m - 1 :: -1]) / 2.0
    found = []
    for count in range(1, m + 1):
        share = steps[:count] / steps[count - 1]
        powers = np.stack([share, share**3][:count], axis=-1)
        found.append(odd[..., :count] @ np.linalg.pinv(powers)[0] * PER_CENT / steps[count - 1])
    return np.stack(found, axis=-1)


def _step(drawn: Array, slopes: Array) -> int:
    """Index of the largest step whose slope agrees with that of every smaller one, from `drawn` (draws, m)."""
    large, small = np.tril_indices(len(slopes), -1)
    if not large.size:
        return 0
    differences = slopes[large] - slopes[small]
    scattered = drawn[:, large] - drawn[:, small] - differences
    errors = scattered.std(axis=0, ddof=1) + np.finfo(np.float64).tiny
    limit = float(np.quantile(np.abs(scattered / errors).max(axis=1), AGREEMENT))
    against = np.abs(differences) > limit * errors
    return int(large[against].min() - 1) if against.any() else len(slopes) - 1


def interval(values: Array) -> tuple[float, float]:
    """Student's 95 % interval of the mean of `values` (n,), n of 2 or more."""
    n = len(values)
    half = float(stdtrit(n - 1, TAILS[1])) * float(values.std(ddof=1)) / np.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def tolerance(x: Array, worse: Array, cost: float) -> tuple[float | None, str]:
    """The smallest |x| from which on `worse` stays above `cost` on a side, straight between points, and that side.

    `x` (2 m + 1,) rises through 0, where `worse` is 0. None: on no side.
    """
    middle = len(x) // 2
    found: list[tuple[float, str]] = []
    for side, order in (("more", range(len(x) - 1, middle, -1)), ("less", range(middle))):
        inward = 1 if side == "less" else -1
        last = None
        for at in order:
            if worse[at] < cost:
                break
            last = at
        if last is not None:
            inner = last + inward
            share = (cost - worse[inner]) / (worse[last] - worse[inner])
            found.append((float(abs(x[inner] + share * (x[last] - x[inner]))), side))
    return min(found, default=(None, ""), key=lambda each: each[0])


def _spread(runs: Sequence[Moves], sigma: float) -> dict[str, float | None]:
    """Figures of the drawn devices, brought from `sigma` to 1 %."""
    pairs = [(run.at_card.score, a.score, b.score) for run in runs for a, b in run.spread]
    if not pairs:
        return {"spread_mean": None, "spread_error": None, "spread_chips": None}
    at_card, above, below = np.array(pairs).T
    share = PER_CENT / sigma
    changes = ((above + below) / 2.0 - at_card) * share**2
    return {
        "spread_mean": float(changes.mean()),
        "spread_error": float(changes.std(ddof=1) / np.sqrt(len(changes))) if len(changes) > 1 else None,
        "spread_chips": float(np.sqrt(np.mean(((above - below) / 2.0) ** 2)) * share),
    }
