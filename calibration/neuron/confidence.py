"""How far fitted numbers can be believed, beyond the standard error: confidence intervals by profile likelihood.

    F(p_i) = (chi^2(p_i) / chi^2_min - 1) (N - P) / r^2     chi^2(p_i): all other parameters fitted anew at a fixed p_i

The interval of k standard deviations is where the F-distribution with 1 and N - P degrees of freedom reaches the
probability of k normal ones. Unlike the standard error it is asymmetric where the model bends. The profile has the
curvature's width, as if all N residuals were independent; r, the fit's standard error over the curvature's
(`calibration.fitting.least_squares`), widens it to what the misfit of the model allows. Source: lmfit's
`conf_interval`; Bates & Watts, *Nonlinear Regression Analysis*, Wiley 1988, chapter 6. It takes some hundred fits a
parameter, hence on request. A search that fails is an error, not an interval.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import lmfit
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import norm

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fitting.least_squares import NO_FURTHER_GAIN, Fit, Free
from bruno_spice.calibration.neuron.fit import Scales, first_spike_residual, free_parameters, with_values
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters

Array = NDArray[np.float64]

LOWER = 1e-4
"""A fit along a profile whose sum of squares is lower by this share has found a better minimum."""
STEP, TOLERANCE = 1e-5, 1e-6
"""Of the fits along a profile: finite differences above the integration's own noise, as in the fit itself, and a sum of
squares that is exact to a thousandth of what it rises by within one standard error."""
FURTHEST = 0.2
"""Standard errors that a refit may move a parameter of the fit whose intervals are asked for."""


@dataclass(frozen=True, eq=False)
class Confidence:
    """One parameter, SI units: best value, and for each of `sigmas` (n,) the ends of its interval `low`, `high` (n,).

    The profile behind it: `profile_values` (m,), and `profile_sigmas` (m,), how many standard deviations away each is.
    """

    name: str
    best: float
    stderr: float
    sigmas: tuple[float, ...]
    low: Array
    high: Array
    profile_values: Array
    profile_sigmas: Array


def confidence_intervals(
    residual: Callable[[dict[str, float]], Array],
    fit: Fit,
    names: Sequence[str] | None = None,
    sigmas: Sequence[float] = (1.0, 2.0),
    watched: Callable[[list[str]], Iterable[str]] = iter,
) -> dict[str, Confidence]:
    """Profile-likelihood intervals of `names` (default: all) around `fit`, of the same `residual` it was made with.

    `watched` passes the names on, one after the other: a progress bar.

    Works in the fit's scaled coordinates. Raises `InputError` for an unknown name, `FitError` where `fit` is not at a
    minimum, a fit along a profile fails, or a profile does not close (the data set no limit on that side).
    """
    free = {f.name: f for f in fit.free}
    chosen = list(free) if names is None else list(names)
    if unknown := [name for name in chosen if name not in free]:
        raise InputError(f"'{unknown[0]}' was not fitted; there are {', '.join(free)}")
    minimizer, result = _at_minimum(residual, fit)
    return {name: _profile_of(free[name], fit, minimizer, result, tuple(sigmas)) for name in watched(chosen)}


def _profile_of(
    free: Free,
    fit: Fit,
    minimizer: lmfit.Minimizer,
    result: Any,
    sigmas: tuple[float, ...],
) -> Confidence:
    widening = fit.stderr[free.name] / fit.stderr_curvature[free.name]

    def probability(best: Any, new: Any) -> float:
        at = f"{free.value(float(new.params[free.name].value)):g}"
        if not new.success and new.ier not in NO_FURTHER_GAIN:
            raise FitError(f"the fit with '{free.name}' held at {at} failed ({' '.join(str(new.message).split())})")
        if new.chisqr < (1.0 - LOWER) * best.chisqr:
            raise FitError(f"with '{free.name}' at {at} the fit is better than at the card's values: calibrate anew")
        return float(f_distribution.cdf((new.chisqr / best.chisqr - 1.0) * best.nfree / widening**2, 1, best.nfree))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # lmfit warns where a profile does not reach its sigmas
            found, traces = lmfit.conf_interval(
                minimizer,
                result,
                p_names=[free.name],
                prob_func=probability,
                sigmas=list(sigmas),
                trace=True,
                maxiter=200,
            )
    except FitError as error:
        raise FitError(f"no confidence interval of '{free.name}': {error}") from None
    except UserWarning:
        raise FitError(
            f"no confidence interval of '{free.name}': the data set no limit on one side; add data or fix it"
        ) from None
    except (lmfit.MinimizerException, ValueError) as error:
        raise FitError(f"no confidence interval of '{free.name}': {error}") from None
    return _confidence(free, fit, found[free.name], traces[free.name], sigmas)


def neuron_confidence(
    recordings: Sequence[Recording],
    card: NeuronCard,
    names: Sequence[str] | None = None,
    sigmas: Sequence[float] = (1.0, 2.0),
    scales: Scales | None = None,
    watched: Callable[[list[str]], Iterable[str]] = iter,
) -> dict[str, Confidence]:
    """`confidence_intervals` of a FeLIF `card` on the `recordings` that it was fitted to; `scales` are the card's."""
    scales = scales or Scales(spike_time=card.fit.get("spike_time_scale", Scales.spike_time))
    at = NeuronParameters.from_card(card)
    free = tuple(f for f in free_parameters(at) if f.name in card.covariance.names)
    covariance = np.asarray(card.covariance.matrix)
    order = [card.covariance.names.index(f.name) for f in free]
    matrix = covariance[np.ix_(order, order)]

    def residual(values: dict[str, float]) -> Array:
        trial = with_values(at, values)
        return np.concatenate([first_spike_residual(r, trial, scales) for r in recordings])

    values = {f.name: card[f.name] for f in free}
    stderr = dict(zip(values, np.sqrt(np.diag(matrix)).tolist(), strict=True))
    curvature = {name: card.parameters[name].stderr_curvature or error for name, error in stderr.items()}
    fit = Fit(free, values, stderr, curvature, matrix, residual(values), 0)
    return confidence_intervals(residual, fit, names, sigmas, watched)


def _at_minimum(residual: Callable[[dict[str, float]], Array], fit: Fit) -> tuple[lmfit.Minimizer, Any]:
    """lmfit's own objects at the minimum, its standard errors replaced by those of `fit`."""
    parameters = lmfit.Parameters()
    for f in fit.free:
        parameters.add(f.name, value=f.scaled(fit.values[f.name]), min=f.scaled(f.min), max=f.scaled(f.max))

    def scaled(trial: lmfit.Parameters) -> Array:
        return residual({f.name: f.value(trial[f.name].value) for f in fit.free})

    along = {"epsfcn": STEP**2, "ftol": TOLERANCE, "xtol": TOLERANCE}
    minimizer = lmfit.Minimizer(scaled, parameters, calc_covar=False, **along)
    result = minimizer.minimize(method="leastsq", ftol=1e-9, xtol=1e-9)
    for f in fit.free:
        result.params[f.name].stderr = fit.stderr[f.name] / f.slope(fit.values[f.name])
        moved = f.value(float(result.params[f.name].value)) - fit.values[f.name]
        if abs(moved) > FURTHEST * fit.stderr[f.name]:
            raise FitError(
                f"no confidence interval: '{f.name}' = {fit.values[f.name]:g} is not at the minimum of its fit, which "
                f"is {abs(moved) / fit.stderr[f.name]:.2g} standard errors away: calibrate anew"
            )
    if not result.success and result.ier not in NO_FURTHER_GAIN:
        raise FitError(f"no confidence interval: the search for the minimum failed ({result.message.strip()})")
    return minimizer, result


def _confidence(
    free: Free,
    fit: Fit,
    found: list[tuple[float, float]],
    trace: dict[str, Array],
    sigmas: tuple[float, ...],
) -> Confidence:
    ends = np.array([free.value(scaled) for _, scaled in found])
    middle = len(ends) // 2
    if not np.all(np.isfinite(ends)):
        raise FitError(
            f"no confidence interval of '{free.name}': the data set no limit on one side; add data or fix it"
        )
    values = np.array([free.value(float(scaled)) for scaled in trace[free.name]])
    order = np.argsort(values)
    probability = np.clip(np.asarray(trace["prob"], dtype=np.float64), 0.0, 1.0 - 1e-12)
    away = norm.ppf(0.5 + probability / 2)
    return Confidence(
        free.name,
        float(ends[middle]),
        fit.stderr[free.name],
        sigmas,
        ends[:middle][::-1],
        ends[middle + 1 :],
        values[order],
        away[order],
    )


def profile(axes: Axes, confidence: Confidence, unit: str = "") -> Axes:
    """How many standard deviations off a value is: the profile over what the standard error alone would say."""
    from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR

    values = confidence.profile_values
    span = np.linspace(values.min(), values.max(), 200)
    away = np.abs(span - confidence.best) / confidence.stderr
    axes.plot(span, away, color=SPICE_COLOUR, lw=3, label="standard error")
    axes.plot(values, confidence.profile_sigmas, "o-", color=MODEL_COLOUR, ms=5, lw=1.4, label="profile")
    for sigma, low, high in zip(confidence.sigmas, confidence.low, confidence.high, strict=True):
        axes.plot([low, high], [sigma, sigma], color="black", lw=0.9)
    axes.set_xlabel(f"{confidence.name} ({unit})" if unit else confidence.name)
    axes.set_ylabel("standard deviations away")
    axes.legend(fontsize=11)
    return axes
