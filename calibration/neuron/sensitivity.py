"""Which FeLIF parameter moves the spike, and how much of it goes through interactions: Sobol indices.

    S_i = Var[E(y | p_i)] / Var(y)               first order: what p_i explains alone
    T_i = 1 - Var[E(y | all but p_i)] / Var(y)   total: what is left when everything but p_i is known

with y the logarithm of the first-spike time at a constant current, parameters drawn independently around the card: by
the same relative width each, or normally by the card's own variability. Source: Saltelli et al., Comput. Phys.
Commun. 181, 259 (2010); SALib.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bruno_spice.calibration.cards.simulated import first_spike_s
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import format_si

Array = NDArray[np.float64]

LEFT_OUT = (
    "v_reset", "polarization_reset", "t_refractory", "v_floor", "v_compliance", "e_soft", "leak_v_smooth",
)  # fmt: skip
"""What the way from rest to the first spike under an excitatory current does not touch."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Sobol indices `first`, `total` (n,) of the parameters `names` (n,) and their 95 % half-widths (n,)."""

    names: tuple[str, ...]
    first: Array
    total: Array
    first_error: Array
    total_error: Array
    current_a: float
    log_time_sigma: float
    """Standard deviation of ln(first-spike time) over the drawn neurons."""


def spike_time_sensitivity(
    card: NeuronCard,
    current_a: float = 1e-9,
    relative_width: float | None = 0.05,
    base_samples: int = 128,
    seed: int = 0,
) -> Sensitivity:
    """Sobol indices of the first-spike time at `current_a`.

    Parameters are uniform within +-`relative_width` of their values; with None they are normal with the card's
    variability. `base_samples` is a power of 2; (parameters + 2) times as many neurons are simulated. Raises
    `InputError` where SALib is missing, the card has no variability, or a neuron does not spike.
    """
    try:
        from SALib.analyze import sobol as analysis
        from SALib.sample import sobol as sampling
    except ImportError:
        raise InputError("sensitivity needs SALib: pip install 'bruno-spice[uncertainty]'") from None
    if base_samples < 8 or base_samples & (base_samples - 1):
        raise InputError(f"the number of base samples must be a power of 2 from 8 on, not {base_samples}")
    if relative_width is not None and not 0 < relative_width < 1:
        raise InputError(f"the relative width must lie between 0 and 1, not {relative_width:g}")
    problem = _problem(card, relative_width)
    drawn = sampling.sample(problem, base_samples, calc_second_order=False, seed=seed)
    times = np.log([_spiking_s(card, dict(zip(problem["names"], row, strict=True)), current_a) for row in drawn])
    found = analysis.analyze(problem, times - times.mean(), calc_second_order=False, seed=seed)
    return Sensitivity(
        names=tuple(problem["names"]),
        first=np.asarray(found["S1"]),
        total=np.asarray(found["ST"]),
        first_error=np.asarray(found["S1_conf"]),
        total_error=np.asarray(found["ST_conf"]),
        current_a=current_a,
        log_time_sigma=float(times.std()),
    )


def _problem(card: NeuronCard, relative_width: float | None) -> dict[str, Any]:
    """SALib's description of factors around 1, one for each parameter."""
    if relative_width is not None:
        names = [n for n, p in card.parameters.items() if p.value != 0 and n not in LEFT_OUT and not _weight(n)]
        bounds = [[1 - relative_width, 1 + relative_width]] * len(names)
        return {"num_vars": len(names), "names": names, "bounds": bounds}
    names = [n for n in card.variability if n not in LEFT_OUT]
    if not names:
        raise InputError("the card has no variability; calibrate with --monte-carlo, or give a relative width")
    normal = [[1.0, card.variability[n]] for n in names]
    return {"num_vars": len(names), "names": names, "bounds": normal, "dists": ["norm"] * len(names)}


def _weight(name: str) -> bool:
    """Weights sum to 1, so that none varies alone."""
    return name.startswith("domain_weight")


def _spiking_s(card: NeuronCard, factors: dict[str, float], current_a: float) -> float:
    device = card.with_values(**{name: card[name] * factor for name, factor in factors.items()})
    spike_s = first_spike_s(device, current_a, samples=10, rtol=1e-6)
    if spike_s is None:
        raise InputError(
            f"a neuron within these widths does not spike at {format_si(current_a, 'A')}: drive it with more current"
        )
    return spike_s


def sensitivity_bars(axes: Axes, sensitivity: Sensitivity) -> Axes:
    """First-order and total indices, the strongest on top."""
    from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR

    order = np.argsort(sensitivity.total)
    place = np.arange(order.size)
    for shift, value, error, colour, label in (
        (-0.2, sensitivity.total, sensitivity.total_error, SPICE_COLOUR, "total"),
        (0.2, sensitivity.first, sensitivity.first_error, MODEL_COLOUR, "alone"),
    ):
        axes.barh(place + shift, value[order], 0.38, xerr=error[order], color=colour, label=label)
    axes.set_yticks(place, [sensitivity.names[n] for n in order])
    axes.set_xlabel(f"share of the variance of ln(first-spike time) at {format_si(sensitivity.current_a, 'A')}")
    axes.legend()
    return axes
