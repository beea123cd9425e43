"""Least squares with lmfit, on scaled parameters, and honest about failure.

A picofarad fitted as 1e-12 leaves the optimiser at its start value with the word "success" (lmfit and
MINPACK take steps relative to 1). So every parameter is fitted either as log10 of its value or in a stated
unit scale. A parameter that ends on its bound is held there, and the fit goes on with the others. A result is believed
only if the fit converged, every free parameter moved off its start and is known well enough, and the covariance is
regular. Anything else leaves the best values found with a doubt (`Fit.doubt`) that names the parameter and the remedy.

Standard errors: `calibration.fitting.standard_errors`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fitting.standard_errors import clustered, curvature, jacobian
from bruno_spice.devices.errors import BrunoError

if TYPE_CHECKING:
    import lmfit

    from bruno_spice.devices.cards.parts import Covariance, Parameter

Array = NDArray[np.float64]
NO_FURTHER_GAIN = (6, 7, 8)
"""MINPACK's codes for a minimum that is as sharp as the arithmetic."""
MAX_RELATIVE_STDERR = 0.3
"""Of a parameter on a logarithmic scale; above it, it counts as not determined, unless the fit says otherwise."""
BOUND_TOLERANCE = 5e-3
"""Distance to a bound, as a fraction of the interval, within which a parameter counts as being on it."""


@dataclass(frozen=True)
class Free:
    """One free parameter: start value and bounds in SI units, and how to scale it.

    `scale` is ``"log10"`` (positive values over decades) or the unit in which steps are of order 1.
    """

    name: str
    start: float
    min: float
    max: float
    scale: Literal["log10"] | float = "log10"

    def scaled(self, value: float) -> float:
        """`value` in the optimiser's coordinates."""
        return math.log10(value) if self.scale == "log10" else value / float(self.scale)

    def value(self, scaled: float) -> float:
        """The SI value of the optimiser's coordinate."""
        return float(10.0**scaled) if self.scale == "log10" else scaled * float(self.scale)

    def slope(self, value: float) -> float:
        """d value / d scaled at `value`."""
        return value * math.log(10) if self.scale == "log10" else float(self.scale)


@dataclass(frozen=True)
class Fit:
    """The best values found, SI units, and how far they can be believed.

    `stderr` is the clustered one where the residuals came in groups and the curvature's otherwise; `matrix` (n, n), in
    the order of `free`, is its covariance. Both lack what could not be computed. `held` names parameters that ended on
    a bound: they are in `values` but no longer in `free`.
    """

    free: tuple[Free, ...]
    values: dict[str, float]
    stderr: dict[str, float]
    stderr_curvature: dict[str, float]
    matrix: Array
    residual: Array
    evaluations: int
    held: tuple[Free, ...] = ()
    doubt: str = ""
    """Why the result is not to be believed; empty where it is."""

    def parameters(self, units: Mapping[str, str]) -> dict[str, "Parameter"]:
        """The fitted parameters as card entries."""
        from bruno_spice.devices.cards.parts import Parameter  # pydantic, for whom a card is

        fitted = {
            f.name: Parameter(
                value=self.values[f.name],
                unit=units[f.name],
                stderr=self.stderr.get(f.name),
                stderr_curvature=self.stderr_curvature.get(f.name),
                min=f.min,
                max=f.max,
                vary=True,
                source="fit",
            )
            for f in self.free
        }
        return fitted | {
            f.name: Parameter(
                value=self.values[f.name],
                unit=units[f.name],
                min=f.min,
                max=f.max,
                source="fit: held on the bound where it ended",
            )
            for f in self.held
        }

    def covariance(self) -> "Covariance":
        """The covariance as a card entry; empty where there is none."""
        from bruno_spice.devices.cards.parts import Covariance

        names = [f.name for f in self.free] if self.matrix.size else []
        return Covariance(names=names, matrix=self.matrix.tolist() if names else [])


def belief(*fits: Fit) -> dict[str, Any]:
    """What a card says of the fits it was made from: whether they are believed and, if not, the first doubt."""
    doubt = next((each.doubt for each in fits if each.doubt), "")
    return {"believed": False, "doubt": doubt} if doubt else {"believed": True}


def fit(
    residual: Callable[[dict[str, float]], Array],
    free: Sequence[Free],
    *,
    what: str,
    groups: NDArray[np.int_] | None = None,
    loosest: float = MAX_RELATIVE_STDERR,
    step: float = 1e-5,
    tolerance: float = 1e-7,
    max_evaluations: int = 2000,
    progress: Callable[[int, Array], None] | None = None,
) -> Fit:
    """As `best_fit`, but raises `FitError` where the result is not to be believed or a parameter ended on its bound."""
    result = best_fit(
        residual,
        free,
        what=what,
        groups=groups,
        loosest=loosest,
        step=step,
        tolerance=tolerance,
        max_evaluations=max_evaluations,
        progress=progress,
    )
    if result.held:
        f = result.held[0]
        raise FitError(
            f"{what}: '{f.name}' ended on its bound at {result.values[f.name]:g} (bounds {f.min:g}...{f.max:g}); "
            f"widen the bound if physics allows, or fix the parameter"
        )
    if result.doubt:
        raise FitError(result.doubt)
    return result


def best_fit(
    residual: Callable[[dict[str, float]], Array],
    free: Sequence[Free],
    *,
    what: str,
    groups: NDArray[np.int_] | None = None,
    loosest: float = MAX_RELATIVE_STDERR,
    step: float = 1e-5,
    tolerance: float = 1e-7,
    max_evaluations: int = 2000,
    progress: Callable[[int, Array], None] | None = None,
) -> Fit:
    """Minimise the sum of squares of `residual` over `free`, and say whether to believe it.

    Main: `residual` takes SI values by name and returns an array of fixed length; `what` names the fit in messages;
    `groups` (of that length) says which residuals belong together; a parameter on a logarithmic
    scale whose relative standard error is above `loosest` counts as not determined.
    Other: `step` is the relative step of the finite differences in scaled units (larger than the noise of the
    residual's own integration); `progress` is called with the evaluation count and the residual.
    Raises `FitError` where the model cannot be evaluated even at the start.
    """
    found = _Search(residual, what, progress)
    left, bounds = list(free), dict[str, float]()
    while True:
        doubt = found.minimise(left, bounds, step, tolerance, max_evaluations)
        reached = {f.name: bound for f in left if (bound := _bound(f, found.best[f.name])) is not None}
        left = [replace(f, start=found.best[f.name]) for f in left if f.name not in reached]
        bounds |= reached
        if not reached or not left:
            break
    result = Fit(
        free=tuple(f for f in free if f.name not in bounds),
        values={f.name: bounds.get(f.name, found.best[f.name]) for f in free},
        stderr={},
        stderr_curvature={},
        matrix=np.empty((0, 0)),
        residual=found.residual,
        evaluations=found.count,
        held=tuple(f for f in free if f.name in bounds),
        doubt=doubt,
    )
    if not left:
        return replace(result, doubt=f"{what}: every parameter ended on its bound")
    return _with_errors(result, residual, groups, loosest, what, step)


def search(
    residual: Callable[[dict[str, float]], Array],
    free: Sequence[Free],
    *,
    what: str,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    max_evaluations: int = 300,
) -> dict[str, float]:
    """As `fit`, but only on the way to one: the best SI values found, believable or not."""
    found = _Search(residual, what, None)
    found.minimise(list(free), {}, step, tolerance, max_evaluations)
    return found.best


class _Search:
    """Minimisations of one residual, one after the other; remembers the best point that any of them saw."""

    def __init__(
        self,
        residual: Callable[[dict[str, float]], Array],
        what: str,
        progress: Callable[[int, Array], None] | None,
    ) -> None:
        self._residual, self._what, self._progress = residual, what, progress
        self.count, self._lowest = 0, math.inf
        self.best: dict[str, float] = {}
        self.residual: Array = np.empty(0)

    def minimise(
        self,
        free: Sequence[Free],
        fixed: Mapping[str, float],
        step: float,
        tolerance: float,
        max_evaluations: int,
    ) -> str:
        """Minimise over `free` with the other parameters `fixed`; return why the result is doubtful, or nothing."""
        import lmfit  # slow to import, and bounds of parameters are wanted without it

        self._lowest = math.inf
        parameters = lmfit.Parameters()
        for f in free:
            if not f.min < f.start < f.max:
                raise FitError(
                    f"{self._what}: the start value {f.start:g} of '{f.name}' is not inside its bounds "
                    f"{f.min:g}...{f.max:g}"
                )
            parameters.add(f.name, value=f.scaled(f.start), min=f.scaled(f.min), max=f.scaled(f.max))

        def scaled_residual(trial: "lmfit.Parameters") -> Array:
            return self._evaluate(dict(fixed) | {f.name: f.value(trial[f.name].value) for f in free})

        try:
            result = lmfit.minimize(
                scaled_residual,
                parameters,
                method="leastsq",
                epsfcn=step**2,
                ftol=tolerance,
                xtol=tolerance,
                max_nfev=max_evaluations,
                calc_covar=False,
            )
        except BrunoError as error:
            if not math.isfinite(self._lowest):
                raise
            return str(error)
        if not result.success and result.ier not in NO_FURTHER_GAIN:
            reason = " ".join(str(result.message).split())
            return f"{self._what}: did not converge after {self.count} evaluations ({reason})"
        return ""

    def _evaluate(self, values: dict[str, float]) -> Array:
        self.count += 1
        out = self._residual(values)
        if not np.all(np.isfinite(out)):
            point = ", ".join(f"{name}={value:g}" for name, value in values.items())
            raise FitError(f"{self._what}: the model gives a non-finite residual at {point}; narrow the bounds")
        if float(out @ out) < self._lowest:
            self._lowest, self.best, self.residual = float(out @ out), values, np.array(out)
        if self._progress is not None:
            self._progress(self.count, out)
        return out


def _bound(f: Free, value: float) -> float | None:
    """The bound that `value` has ended on, None where it has not."""
    low, high, x = f.scaled(f.min), f.scaled(f.max), f.scaled(value)
    near = BOUND_TOLERANCE * (high - low)
    return f.min if x - low < near else f.max if high - x < near else None


def _with_errors(
    result: Fit,
    residual: Callable[[dict[str, float]], Array],
    groups: NDArray[np.int_] | None,
    loosest: float,
    what: str,
    step: float,
) -> Fit:
    """`result` with its standard errors and what they make doubtful."""
    free = result.free
    at = np.array([f.scaled(result.values[f.name]) for f in free])

    def residual_at(scaled: Array) -> Array:
        return residual(result.values | {f.name: f.value(float(x)) for f, x in zip(free, scaled, strict=True)})

    try:
        slopes = jacobian(residual_at, at, step)
        names = [f.name for f in free]
        curved = curvature(slopes, result.residual, names, what)
        covariance = curved if groups is None else clustered(slopes, result.residual, groups, names, what)
    except BrunoError as error:
        return replace(result, doubt=result.doubt or str(error))
    to_si = np.array([f.slope(result.values[f.name]) for f in free])
    stderr, stderr_curvature = (
        {f.name: float(s) for f, s in zip(free, np.sqrt(np.diag(c)) * np.abs(to_si), strict=True)}
        for c in (covariance, curved)
    )
    doubts = [
        result.doubt,
        *(_undetermined(f, s, loosest, what) for f, s in zip(free, np.sqrt(np.diag(covariance)), strict=True)),
    ]
    unmoved = [f for f, x in zip(free, at, strict=True) if x == f.scaled(f.start)]
    if len(unmoved) < len(free):  # where none has moved, the start was the minimum
        doubts += [f"{what}: '{f.name}' did not move from its start {f.start:g}: fix it" for f in unmoved]
    return replace(
        result,
        stderr=stderr,
        stderr_curvature=stderr_curvature,
        matrix=covariance * np.outer(to_si, to_si),
        doubt=next((doubt for doubt in doubts if doubt), ""),
    )


def _undetermined(f: Free, sigma: float, loosest: float, what: str) -> str:
    """Why a scaled standard error `sigma` is too large, or nothing."""
    logarithmic = f.scale == "log10"
    widest = loosest / math.log(10) if logarithmic else (f.scaled(f.max) - f.scaled(f.min)) / 2
    if sigma <= widest:
        return ""
    said = f"{100 * sigma * math.log(10):.0f} %" if logarithmic else f"{sigma:.2g} times {f.scale:g}"
    return f"{what}: these data do not determine '{f.name}' (standard error {said}): fix it or add data"
