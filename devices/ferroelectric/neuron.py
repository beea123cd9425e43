"""A neuron by its numbers, whichever model it is: parameters in SI units, and its right-hand side.

    dp_k/dt = sign(E_k) r_k (|sign(E_k) - p_k| - d_k)
    dV/dt   = DRIVE (I_in - I_leak) - V_PER_P sum_k w_k dp_k/dt             (`devices.models.laws`)

This is the reference that the compiled kernels and torch are tested against: NumPy, written like the equation.
"""

import dataclasses
import math
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.bound import NUMPY, bind, row_of
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.devices.models.rows import WEIGHT, domain_count, group_of

Array = NDArray[np.float64]
FILM_V = 50.0


class NeuronParameters:
    """The numbers of a neuron card by the same names, SI units; those of domains are arrays (K,)."""

    model: ClassVar[type[NeuronModel]]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    def __post_init__(self) -> None:
        for name in self.model.domain_parameters:
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)))
        if not self.v_reset < self.v_threshold:
            raise InputError(
                f"v_reset ({self.v_reset:g} V) must lie below v_threshold ({self.v_threshold:g} V), "
                "or the neuron never stops spiking"
            )

    @classmethod
    def from_card(cls, card: NeuronCard) -> Self:
        """The parameters of `card`, of its model's own class."""
        domains = range(1, card.domains + 1)
        vectors = {name: np.array([card[f"{name}_{k}"] for k in domains]) for name in card.DOMAIN_UNITS}
        values: dict[str, Any] = {name: card[name] for name in card.UNITS} | vectors
        model: Any = card.NEURON
        kind: Any = parameters_class(model)
        return kind(**values, leak=card.leak)

    @property
    def domains(self) -> int:
        """Number K of polarization domains."""
        return int(np.size(getattr(self, next(iter(self.model.domain_parameters), "area"))))

    @property
    def shares(self) -> Array:
        """What share of the film each domain is, (K,)."""
        constants = self.constants()
        return constants[group_of(WEIGHT, domain_count(len(constants)))]

    def at_membrane(self, v: ArrayLike, polarization: ArrayLike) -> Array:
        """Voltage at the membrane in V from the film's `v` and sum_k w_k p_k, of any one shape."""
        return np.asarray(bind(self.model, NUMPY).terminal(np.asarray(v), np.asarray(polarization), self._row))

    def in_film(self, v: float, polarization: float) -> float:
        """The film's voltage where that at the membrane is `v` and sum_k w_k p_k = `polarization`."""
        if not self.model.TERMINAL:
            return v
        from scipy.optimize import brentq  # a quarter of a second, for whom it is

        return float(brentq(lambda film: float(self.at_membrane(film, polarization)) - v, -FILM_V, FILM_V, xtol=1e-14))

    @property
    def values(self) -> dict[str, float]:
        """Every parameter by the card's name of it."""
        values = {name: getattr(self, name) for name in self.model.parameters}
        for name in self.model.domain_parameters:
            values |= {f"{name}_{k}": value for k, value in enumerate(getattr(self, name), 1)}
        return values

    def constants(self) -> Array:
        """What the kernels read, (R,), in ms, V, V/nm and A (`devices.models.rows`)."""
        return np.array(self.model.constants(self.values, self.domains, math.log, self.leak), dtype=np.float64)

    @property
    def c_total(self) -> float:
        """Membrane capacitance C in F: the film's linear one and the parasitic one."""
        return 1e-3 / float(self._row.drive)

    @property
    def film_charge(self) -> float:
        """Charge in C on the membrane per unit of sum_k w_k p_k: A Ps."""
        return float(self._row.v_per_p) * self.c_total

    @property
    def k_cap(self) -> float:
        """Field in the film per membrane voltage, in 1/m."""
        return 1e9 * float(self._row.k_cap)

    @property
    def k_dep(self) -> float:
        """Depolarization field per polarization, in V/m per C/m^2."""
        return 1e9 * float(self._row.k_pol) / float(self.saturation_polarization)

    @property
    def _row(self) -> Any:
        return row_of(self.model, self.constants())


@cache
def parameters_class(model: Any) -> type[NeuronParameters]:
    """`NeuronParameters` with the fields that `model` declares."""
    names = [*model.parameters, *model.domain_parameters]
    fields: list[Any] = [*((name, Any) for name in names), ("leak", str, "symmetric")]
    name = f"{model.label}Parameters"
    made: type[NeuronParameters] = dataclasses.make_dataclass(
        name, fields, bases=(NeuronParameters,), frozen=True, namespace={"model": model, "__module__": __name__}
    )
    return made


FeLIFParameters = parameters_class(FeLIFModel)


def derivatives(v: ArrayLike, p: ArrayLike, i_syn_a: ArrayLike, parameters: NeuronParameters) -> tuple[Array, Array]:
    """Right-hand side of the neuron: dV/dt in V/s, shape (...), and dp/dt in 1/s, shape (..., K).

    `v` (...) in V, `p` (..., K) in -1...1, `i_syn_a` (...) in A. No spike, no reset.
    """
    v, p, i_syn_a = np.asarray(v, float), np.asarray(p, float), np.asarray(i_syn_a, float)
    constants, model = parameters.constants(), parameters.model
    law, x = bind(model, NUMPY), row_of(model, constants)
    polarization = p @ parameters.shares
    common = x.k_cap * v - x.k_pol * polarization
    at_membrane = law.terminal(v, polarization, x)
    dp_dt = np.empty_like(p)
    for k in range(parameters.domains):
        of_k = row_of(model, constants, k)
        field = common - of_k.offset
        sign = np.where(field >= 0.0, 1.0, -1.0)
        size = np.maximum(law.softened(np.abs(field), of_k), of_k.smallest)
        rate = np.exp(law.ln_rate(size, of_k))
        dp_dt[..., k] = sign * rate * (1.0 - sign * p[..., k] - law.back(size, of_k))
    i_in = i_syn_a * np.where(i_syn_a < 0.0, law.compliance(at_membrane, x), 1.0)
    dv_dt = x.drive * (i_in - law.leak(at_membrane, x)) - x.v_per_p * (dp_dt @ parameters.shares)
    return 1e3 * dv_dt, 1e3 * dp_dt
