"""Least squares with lmfit, on scaled parameters, and honest about failure.

A picofarad fitted as 1e-12 leaves the optimiser at its start value with the word "success" (lmfit and
MINPACK take steps relative to 1). So every parameter is fitted either as log10 of its value or in a stated
unit scale, and a result counts only if it can be believed: the fit converged, every free parameter moved
off its start and off its bounds and has a standard error, and the covariance is regular. Anything else is
a `FitError` that names the parameter and the remedy.

Standard errors and covariance come back in the parameters' own SI units (first-order propagation).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lmfit
import numpy as np
from numpy.typing import NDArray

from calibration.errors import FitError
from devices.card_parts import Covariance, Parameter

Array = NDArray[np.float64]
MAX_CONDITION = 1e10
"""Of the normal matrix with unit columns, above which the covariance counts as singular."""
NO_FURTHER_GAIN = (6, 7, 8)
"""MINPACK's codes for a minimum that is as sharp as the arithmetic."""
MAX_STDERR_DECADES = 1.0
BOUND_TOLERANCE = 1e-3
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
    """A fit that can be believed: values, standard errors and covariance (n, n) in SI units, in the order of `free`."""

    free: tuple[Free, ...]
    values: dict[str, float]
    stderr: dict[str, float]
    matrix: Array
    residual: Array
    evaluations: int

    def parameters(self, units: Mapping[str, str]) -> dict[str, Parameter]:
        """The fitted parameters as card entries."""
        return {
            f.name: Parameter(
                value=self.values[f.name],
                unit=units[f.name],
                stderr=self.stderr[f.name],
                min=f.min,
                max=f.max,
                vary=True,
                source="fit",
            )
            for f in self.free
        }

    def covariance(self) -> Covariance:
        """The covariance as a card entry."""
        return Covariance(names=[f.name for f in self.free], matrix=self.matrix.tolist())


def fit(
    residual: Callable[[dict[str, float]], Array],
    free: Sequence[Free],
    *,
    what: str,
    step: float = 1e-5,
    tolerance: float = 1e-7,
    max_evaluations: int = 2000,
    progress: Callable[[int, Array], None] | None = None,
) -> Fit:
    """Minimise the sum of squares of `residual` over `free`; return a `Fit` or raise `FitError`.

    Main: `residual` takes SI values by name and returns an array of fixed length; `what` names the fit in messages.
    Other: `step` is the relative step of the finite differences in scaled units (larger than the noise of the
    residual's own integration); `progress` is called with the evaluation count and the residual.
    """
    result = _minimise(residual, free, what, step, tolerance, max_evaluations, progress)
    if not result.success and result.ier not in NO_FURTHER_GAIN:
        raise FitError(f"{what}: did not converge after {result.nfev} evaluations ({result.message.strip()})")
    at = np.array([result.params[f.name].value for f in free])
    _check_moved(at, free, what)

    def residual_at(scaled: Array) -> Array:
        return residual({f.name: f.value(float(x)) for f, x in zip(free, scaled, strict=True)})

    covariance = _covariance(jacobian(residual_at, at, step), np.asarray(result.residual), free, what)
    for f, sigma in zip(free, np.sqrt(np.diag(covariance)), strict=True):
        widest = MAX_STDERR_DECADES if f.scale == "log10" else (f.scaled(f.max) - f.scaled(f.min)) / 2
        if sigma > widest:
            raise FitError(
                f"{what}: these data do not determine '{f.name}' (standard error {sigma:.2g} "
                f"{'decades' if f.scale == 'log10' else 'times ' + format(f.scale, 'g')}): fix it or add data"
            )
    values = {f.name: f.value(float(x)) for f, x in zip(free, at, strict=True)}
    slopes = np.array([f.slope(values[f.name]) for f in free])
    matrix = covariance * np.outer(slopes, slopes)
    stderr = {f.name: float(s) for f, s in zip(free, np.sqrt(np.diag(matrix)), strict=True)}
    return Fit(tuple(free), values, stderr, matrix, np.asarray(result.residual), int(result.nfev))


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
    result = _minimise(residual, free, what, step, tolerance, max_evaluations, None)
    return {f.name: f.value(result.params[f.name].value) for f in free}


def _minimise(
    residual: Callable[[dict[str, float]], Array],
    free: Sequence[Free],
    what: str,
    step: float,
    tolerance: float,
    max_evaluations: int,
    progress: Callable[[int, Array], None] | None,
) -> Any:
    parameters = lmfit.Parameters()
    for f in free:
        if not f.min < f.start < f.max:
            raise FitError(
                f"{what}: the start value {f.start:g} of '{f.name}' is not inside its bounds {f.min:g}...{f.max:g}"
            )
        parameters.add(f.name, value=f.scaled(f.start), min=f.scaled(f.min), max=f.scaled(f.max))

    count = 0

    def scaled_residual(trial: lmfit.Parameters) -> Array:
        nonlocal count
        count += 1
        out = residual({f.name: f.value(trial[f.name].value) for f in free})
        if not np.all(np.isfinite(out)):
            point = ", ".join(f"{f.name}={f.value(trial[f.name].value):g}" for f in free)
            raise FitError(f"{what}: the model gives a non-finite residual at {point}; narrow the bounds")
        if progress is not None:
            progress(count, out)
        return out

    return lmfit.minimize(
        scaled_residual,
        parameters,
        method="leastsq",
        epsfcn=step**2,
        ftol=tolerance,
        xtol=tolerance,
        max_nfev=max_evaluations,
        calc_covar=False,
    )


def _check_moved(at: Array, free: Sequence[Free], what: str) -> None:
    for f, x in zip(free, at, strict=True):
        low, high = f.scaled(f.min), f.scaled(f.max)
        if min(x - low, high - x) < BOUND_TOLERANCE * (high - low):
            raise FitError(
                f"{what}: '{f.name}' ended on its bound at {f.value(float(x)):g} (bounds {f.min:g}...{f.max:g}); "
                f"widen the bound if physics allows, or fix the parameter"
            )
        if x == f.scaled(f.start):
            raise FitError(
                f"{what}: '{f.name}' did not move from its start {f.start:g}; the data do not depend on it: fix it"
            )


def jacobian(residual: Callable[[Array], Array], at: Array, step: float) -> Array:
    """Central differences in scaled coordinates, (residuals, parameters)."""
    columns = []
    for n in range(at.size):
        shift = np.zeros(at.size)
        shift[n] = step * max(abs(at[n]), 1.0)
        columns.append((residual(at + shift) - residual(at - shift)) / (2 * shift[n]))
    return np.stack(columns, axis=1)


def _covariance(jacobian: Array, residual: Array, free: Sequence[Free], what: str) -> Array:
    """Covariance in scaled coordinates; raises `FitError` that names what the data do not determine."""
    lengths = np.linalg.norm(jacobian, axis=0)
    for f, length in zip(free, lengths, strict=True):
        if not length > 1e-12 * lengths.max():
            raise FitError(f"{what}: the data do not depend on '{f.name}', so it has no standard error: fix it")
    normal = jacobian / lengths
    _, singular, directions = np.linalg.svd(normal, full_matrices=False)
    if singular[0] ** 2 > MAX_CONDITION * singular[-1] ** 2:
        first, second = (free[n].name for n in np.argsort(-np.abs(directions[-1]))[:2])
        raise FitError(
            f"{what}: the covariance is singular; '{first}' and '{second}' cannot be told apart by these data: "
            f"fix one of them"
        )
    freedom = max(residual.size - len(free), 1)
    inverse = np.asarray(directions.T @ np.diag(singular**-2.0) @ directions)
    return inverse / np.outer(lengths, lengths) * float(residual @ residual) / freedom
