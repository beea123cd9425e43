"""What a neuron model is: laws of its film, and parameters declared once, from which the rest follows.

A model is a class with static methods, the laws (`devices.models.laws` lists them), and the declarations below.
Card, limits, schema, kernel rows, fit and reference page are made of them; no other code knows which model it is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from bruno_spice.devices.models.rows import domain_names, shared_names

Sign = Literal["positive", "not negative", "any"]


@dataclass(frozen=True)
class Declared:
    """A parameter of a card, said once."""

    unit: str
    """SI; ``1`` for a plain number."""
    meaning: str
    sign: Sign = "any"
    """What values it can have at all."""
    published: float | None = None
    """Of the model's authors, where they have one device; what a calibration does not find stays so."""
    fit: tuple[float, float] | None = None
    """Between which values a calibration may move it; None: it takes it from the circuit, or leaves it."""
    param: str | None = None
    """The netlist's ``.param`` that says it."""
    near: str | None = None
    """Where a calibration finds the value itself: the ``.param`` of the project's netlist that moves it in
    proportion."""


SLOWEST_LN_RATE = -40.0 * math.log(2.0)
"""Of r in 1/ms: a film that switches more slowly than 2^-40 a millisecond counts as switching so slowly."""
CIRCUIT: dict[str, Declared] = {
    "leak_density": Declared("A/m^2", "I0: of the capacitor's leak", "not negative", fit=(1e-6, 10.0)),
    "leak_v_scale": Declared("V", "V_t: voltage over which that leak grows e-fold", "positive"),
    "leak_discharge": Declared(
        "A", "I_dsc: of the discharge transistor", "not negative", fit=(1e-14, 1e-8), near="ileak"
    ),
    "leak_v_smooth": Declared("V", "V_s: voltage over which that current turns around at 0 V", "positive"),
    "c_parallel": Declared(
        "F", "C_par: capacitance of the membrane's wiring and transistors", "not negative", param="cpar"
    ),
    "v_threshold": Declared("V", "spike where V crosses it upwards", "positive", near="vth"),
    "v_reset": Declared("V", "V after a spike"),
    "polarization_reset": Declared("1", "p_k after a spike"),
    "t_refractory": Declared("s", "how long the reset is held", "not negative", near="tref"),
    "v_floor": Declared("V", "down to which inhibition pulls the membrane"),
    "v_compliance": Declared(
        "V", "headroom over which an inhibiting mirror loses its current e-fold", "positive", param="ut"
    ),
}
"""Parameters of the circuit around the film, which every model has."""


def circuit(**published: float) -> dict[str, Declared]:
    """`CIRCUIT` with the values that a model's authors have for them."""
    return {name: replace(declared, published=published.get(name)) for name, declared in CIRCUIT.items()}


def circuit_rows(x: Mapping[str, Any], leak: str) -> dict[str, Any]:
    """Rows of the circuit around the film, from card values `x`, with the card's `leak` law below 0 V.

    The leak grows with exp(PER_V_LEAK |V|) above 0 V and exp(PER_V_LEAK_BELOW |V|) below.
    """
    return {
        "leak": x["leak_density"] * x["area"],
        "per_v_leak": 1.0 / x["leak_v_scale"],
        "per_v_leak_below": (-1.0 if leak == "published" else 1.0) / x["leak_v_scale"],
        "discharge": x["leak_discharge"],
        "per_v_smooth": 1.0 / x["leak_v_smooth"],
        "v_floor": x["v_floor"],
        "per_v_compliance": 1.0 / x["v_compliance"],
        "v_threshold": x["v_threshold"],
        "v_reset": x["v_reset"],
        "p_reset": x["polarization_reset"],
        "t_refractory": x["t_refractory"] * 1e3,
    }


class NeuronModel:
    """A ferroelectric neuron: one film of `domains` domains on a membrane, with spike and reset.

    Laws that a class does not define are the shared ones.
    """

    name: ClassVar[str]
    """Of cards, commands and files."""
    label: ClassVar[str]
    """In figures and sentences."""
    parameters: ClassVar[Mapping[str, Declared]]
    """Of the neuron, by name."""
    domain_parameters: ClassVar[Mapping[str, Declared]]
    """Of each domain k, where they are called ``name_k``."""
    netlist: ClassVar[str] = "testbenches/neuron.cir"
    """Of the project's netlists, the circuit that it describes."""
    source: ClassVar[str] = "published"
    """Of the published values."""
    published_leak: ClassVar[str] = "symmetric"
    """The published law of the leak below 0 V."""
    fitted: ClassVar[tuple[str, ...]] = ()
    """What a calibration finds on transients, in the order of the search; each has bounds (`Declared.fit`)."""
    own: ClassVar[tuple[str, ...]] = ()
    """Rows of constants that its laws have for themselves, as fields of `x`."""
    own_domain: ClassVar[str] = "scale"
    """The row of a domain that its laws have for themselves."""
    TERMINAL: ClassVar[bool] = False
    """Whether it brings the laws `terminal` and `terminal_slope`."""

    @classmethod
    def rows(cls, x: Mapping[str, Any], domains: int, log: Callable[[Any], Any], leak: str) -> dict[str, Any]:
        """The rows of constants by name, those of domains as lists of K, from card values `x` by name in SI units.

        The same arithmetic serves floats, NumPy arrays and torch tensors, so that device spread and gradients to
        device parameters pass through it; `log` fits the kind of number, `leak` is the card's law below 0 V.
        """
        raise NotImplementedError

    @classmethod
    def deck_parameter(cls, name: str) -> str | None:
        """The netlist's ``.param`` that says card parameter `name` or moves it in proportion; domains share one."""
        stem, _, index = name.rpartition("_")
        declared = cls.parameters.get(name) or cls.domain_parameters.get(stem if index.isdigit() else name)
        return None if declared is None else declared.param or declared.near

    @classmethod
    def constants(cls, x: Mapping[str, Any], domains: int, log: Callable[[Any], Any], leak: str) -> list[Any]:
        """The rows in their order (`devices.models.rows`), spare ones 0."""
        rows = cls.rows(x, domains, log, leak)
        spare = rows["drive"] * 0.0
        shared = [rows.get(name, spare) for name in shared_names(cls.own)]
        grouped = [each for name in domain_names(cls.own_domain) for each in rows[name]]
        return shared + grouped
