"""The laws of every neuron model: one text, the same numbers in each kind of mathematics, and true derivatives.

What is random is seeded: voltages of both signs below and above the floor, fields below `smallest` and above barriers,
films from one well to the other.
"""

import inspect
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
import torch
from numba import njit

from bruno_spice.devices.cards.base import FeLIFCard, card_class
from bruno_spice.devices.compiled import FAST_MATH
from bruno_spice.devices.ferroelectric.bound import LAWS, NUMPY, bind, machine_laws, row, row_of, text_of
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK, GROUP_ROWS, WORK_SIZE
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters, derivatives
from bruno_spice.devices.models import MODELS, maths
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.devices.models.rows import DOMAINS_FROM, domain_count, group_of
from bruno_spice.training.dynamics.laws import TORCH
from tests.devices.nudges import SHOWN
from tests.support import felif_equations
from tests.support.heracles_reference import Capacitor

STATES = 400
IN_VOLTS = ("leak", "leak_slope", "leak_bend", "compliance", "compliance_slope", "compliance_bend")
IN_VOLTS_AND_P = ("terminal", "terminal_slope", "terminal_by_p")
BOTH = pytest.mark.parametrize("name", MODELS)


def constants_of(name: str) -> np.ndarray:
    """The rows (R,) of the card in which every parameter shows."""
    return NeuronParameters.from_card(SHOWN[name].card).constants()


def at(law: str, model: type[NeuronModel], x) -> tuple[np.ndarray, ...]:
    """Random arguments (STATES,) of `law`."""
    rng = np.random.default_rng(3)
    far = rng.uniform(-6.0, 6.0, STATES)
    near = x.v_floor + 0.2 * rng.normal(size=STATES)
    volts = np.where(rng.random(STATES) < 0.4, far, near)
    size = np.maximum(bind(model, NUMPY).softened(np.geomspace(1e-4, 1.0, STATES), x), x.smallest)
    if law in IN_VOLTS:
        return (volts,)
    if law in IN_VOLTS_AND_P:
        p = rng.uniform(-1.0, 1.0, STATES)
        p[::7] = np.sign(p[::7])
        if model.TERMINAL:
            edge = float(x.q_fix / x.per_film_v)
            volts[::3] = edge * (1.0 + 0.1 * rng.normal(size=volts[::3].size)) * rng.choice([-1, 1], volts[::3].size)
        return volts, p
    return (size, size * rng.uniform(1.0, 3.0, STATES)) if law == "chord" else (size,)


def has(model: type[NeuronModel], law: str) -> bool:
    return not inspect.getsource(text_of(model, law)).rstrip().endswith('switches")')


EACH = pytest.mark.parametrize(
    ("name", "law"), [(name, law) for name in MODELS for law in LAWS if has(MODELS[name], law)]
)


@BOTH
def test_every_model_says_how_its_film_switches(name):
    assert all(has(MODELS[name], law) for law in LAWS)
    assert ("terminal" in vars(MODELS[name])) == MODELS[name].TERMINAL


@EACH
def test_torch_says_what_numpy_says(name, law):
    model, constants = MODELS[name], constants_of(name)
    for k in range(domain_count(len(constants))):
        arguments = at(law, model, row_of(model, constants, k))
        expected = getattr(bind(model, NUMPY), law)(*arguments, row_of(model, constants, k))
        found = getattr(bind(model, TORCH), law)(
            *map(torch.tensor, arguments), row_of(model, torch.tensor(constants)[:, None], k)
        )
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, atol=1e-300)


@cache
def looped(law, simd: bool, two: bool):
    """Compiled code that takes `law`, as `machine_laws` has it, through all arguments."""

    @njit(error_model="numpy")
    def scalar(one, other, c, k, domains, out):
        for n in range(one.size):
            out[n] = law(one[n], other[n], c, k, domains) if two else law(one[n], c, k, domains)

    @njit(error_model="numpy", fastmath=FAST_MATH)
    def block(one, other, w, k, domains, out):
        for n in range(one.size):
            j = n % BLOCK
            out[n] = law(one[n], other[n], w, k * BLOCK, j) if two else law(one[n], w, k * BLOCK, j)

    return block if simd else scalar


def machine(law, simd: bool, arguments: tuple[np.ndarray, ...], constants: np.ndarray, k: int) -> np.ndarray:
    """`law` as compiled code has it, at `arguments` (n,) for domain `k`."""
    domains, precision, rows = domain_count(len(constants)), np.float32 if simd else np.float64, constants
    if simd:
        rows = np.full(WORK_SIZE, np.nan, np.float32)
        rows[: DOMAINS_FROM * BLOCK] = np.repeat(constants[:DOMAINS_FROM], BLOCK)
        for group, first in enumerate(GROUP_ROWS):
            rows[first : first + domains * BLOCK] = np.repeat(constants[group_of(group, domains)], BLOCK)
    one, other = (each.astype(precision) for each in (arguments[0], arguments[-1]))
    out = np.empty(one.size, precision)
    looped(law, simd, len(arguments) == 2)(one, other, rows, k, domains, out)
    return out.astype(np.float64)


@EACH
def test_machine_code_says_what_numpy_says(name, law):
    """Double precision to its last digits. Single precision as far as it can know: to 1e-5, to what a change of its
    arguments and constants by 1e-6 does, and to 2e-6 of the law's median size, where a difference cancels.
    """
    model, constants = MODELS[name], constants_of(name)
    ours, rng = getattr(bind(model, NUMPY), law), np.random.default_rng(0)
    for k in range(domain_count(len(constants))):
        arguments = at(law, model, row_of(model, constants, k))
        expected = np.broadcast_to(ours(*arguments, row_of(model, constants, k)), (STATES,))
        scalar = machine(getattr(machine_laws(model, False), law), False, arguments, constants, k)
        np.testing.assert_allclose(scalar, expected, rtol=1e-11, atol=1e-14 * np.median(np.abs(expected)))
        known = np.zeros(STATES)
        for _ in range(50):
            moved = [each * (1.0 + 1e-6 * rng.choice([-1, 1], STATES)) for each in arguments]
            shaken = constants[:, None] * (1.0 + 1e-6 * rng.choice([-1, 1], (constants.size, STATES)))
            known = np.maximum(known, np.abs(ours(*moved, row_of(model, shaken, k)) - expected))
        found = machine(getattr(machine_laws(model, True), law), True, arguments, constants, k)
        allowed = 1e-5 * np.abs(expected) + known + 2e-6 * np.median(np.abs(expected))
        worst = int(np.argmax(np.abs(found - expected) - allowed))
        said = arguments[0][worst], found[worst], expected[worst]
        assert abs(found[worst] - expected[worst]) <= allowed[worst], said


SYMPY = {
    "exp": sympy.exp,
    "expm1": lambda a: sympy.exp(a) - 1,
    "log1p": lambda a: sympy.log(1 + a),
    "tanh": sympy.tanh,
    "power": sympy.Pow,
    "absolute": lambda a: sympy.Piecewise((a, a >= 0), (-a, True)),
    "where": lambda condition, this, that: sympy.Piecewise((this, condition), (that, True)),
    "maximum": lambda a, b: sympy.Piecewise((a, a >= b), (b, True)),
    "minimum": lambda a, b: sympy.Piecewise((a, a <= b), (b, True)),
}
DERIVED = {
    "leak_slope": ("leak", 0),
    "leak_bend": ("leak_slope", 0),
    "compliance_slope": ("compliance", 0),
    "compliance_bend": ("compliance_slope", 0),
    "steepness": ("ln_rate", 0),
    "steepness_slope": ("steepness", 0),
    "back_slope": ("back", 0),
    "terminal_slope": ("terminal", 0),
    "terminal_by_p": ("terminal", 1),
}


def derivative(model: type[NeuronModel], law: str, by: int, arguments, x) -> np.ndarray:
    """Of the text of `law` by its argument number `by`, by sympy."""
    symbols = sympy.symbols([f"a{n}" for n in range(len(arguments))], real=True)
    names = [f"x_{name}" for name in row(model)._fields]
    fields = sympy.symbols(names, real=True)
    text = getattr(bind(model, SYMPY), law)(*symbols, row(model)(*fields))
    slope = sympy.diff(text, symbols[by])
    numbers = sympy.lambdify([*symbols, *fields], slope, "numpy")
    with np.errstate(all="ignore"):
        return np.broadcast_to(numbers(*arguments, *(np.full(STATES, value) for value in x)), (STATES,))


def test_sympy_has_all_the_mathematics():
    assert set(SYMPY) == set(TORCH) == set(maths.NAMES)
    assert {law for law in LAWS if law.endswith(("slope", "bend", "steepness", "by_p"))} == set(DERIVED)


@pytest.mark.parametrize("law", DERIVED)
@BOTH
def test_a_slope_is_the_derivative_of_its_law(name, law):
    """But for what HERACLES' laws say: the rate rises by a thousandth beyond the barrier, V's slope is at least
    a tenth (where a depletion layer vanishes it falls below 0), and p in its well does not count.
    """
    model, constants = MODELS[name], constants_of(name)
    base, by = DERIVED[law]
    for k in range(domain_count(len(constants))):
        x = row_of(model, constants, k)
        arguments = at(law, model, x)
        expected = derivative(model, base, by, arguments, x)
        found = np.broadcast_to(getattr(bind(model, NUMPY), law)(*arguments, x), (STATES,))
        if name == "heracles":
            expected = as_heracles_says(law, expected, arguments, x)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11 * np.median(np.abs(expected)))


def as_heracles_says(law: str, expected: np.ndarray, arguments: tuple[np.ndarray, ...], x) -> np.ndarray:
    """`expected`, with what HERACLES' laws take in place of the derivative."""
    slope = derivative(MODELS["heracles"], "terminal", 0, arguments, x) if law == "terminal_by_p" else expected
    if law == "steepness":
        lowered = arguments[0] * x.per_field
        flat = (lowered >= x.barrier) | (x.ln_rate + lowered >= 11.5)
        assert 0.1 < np.mean(flat) < 0.9
        return expected + np.where(flat, 1e-3 * x.per_field, 0.0)
    if law in ("terminal_slope", "terminal_by_p"):
        assert np.any(slope < 0.1)
        slope = np.maximum(slope, 0.1)
    if law == "terminal_by_p":
        return np.where(arguments[1] < 1.0, expected / slope, 0.0)
    return slope


@pytest.mark.parametrize("leak", ["symmetric", "published"])
@pytest.mark.parametrize("card", [SHOWN["felif"].card, FeLIFCard.published()], ids=["two domains", "published"])
def test_felif_is_its_equations_in_si_units(card, leak):
    parameters = NeuronParameters.from_card(card.model_copy(update={"leak": leak}))
    rng = np.random.default_rng(5)
    v, i_a = rng.uniform(-6.0, 4.0, 500), rng.uniform(-10e-9, 10e-9, 500)
    p = rng.uniform(-1.0, 1.0, (500, parameters.domains))
    ours, theirs = derivatives(v, p, i_a, parameters), felif_equations.derivatives(v, p, i_a, parameters)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("values", [{}, {"thickness_int": 1.5e-9, "temperature": 350.0, "offset_field": -3e7}])
def test_heracles_is_its_equations_in_si_units(values):
    """Up to the fastest rate that the model knows, one in 10 ns."""
    card = card_class(MODELS["heracles"]).published().with_values(**values)
    parameters = NeuronParameters.from_card(card)
    device = Capacitor(t_int_m=card["thickness_int"], temperature_k=card["temperature"], e_off_v_m=card["offset_field"])
    rng = np.random.default_rng(6)
    v, p = rng.uniform(-3.0, 3.0, 900), rng.uniform(-1.0, 1.0, 900)
    rates = np.array([device.rates_hz(each) for each in v])
    slow = rates.sum(axis=1) < 9e7
    assert 200 < slow.sum() < 800
    _, dp = derivatives(v, p[:, None], np.zeros(900), parameters)
    expected = rates[:, 0] * (1 - p) - rates[:, 1] * (1 + p)
    np.testing.assert_allclose(dp[slow, 0], expected[slow], rtol=1e-6, atol=1e-12)
    assert np.all(np.abs(dp[~slow, 0]) < 2.2e8)
    terminal = [device.voltage(*state) for state in zip(v, 0.5 * (1 + p), strict=True)]
    np.testing.assert_allclose(parameters.at_membrane(v, p), terminal, rtol=1e-9)
    film = parameters.in_film(0.0, -1.0)
    assert film == pytest.approx(device.v_fe_at(0.0, 0.0), abs=1e-12)


@BOTH
def test_what_keeps_a_bound_is_kept(name):
    """FeLIF's `chord` over alpha is below the mean steepness ahead; `back` within 0...1, and 0 at a large field."""
    model, constants = MODELS[name], constants_of(name)
    law, x = bind(model, NUMPY), row_of(model, constants)
    size, ahead = at("chord", model, x)
    wide = ahead > size * 1.01
    mean = (law.ln_rate(ahead, x) - law.ln_rate(size, x))[wide] / (ahead - size)[wide]
    if name == "felif":
        bound = (law.chord(size, ahead, x) * law.steepness(size, x))[wide] / x.alpha
        assert np.all(mean >= bound * (1 - 1e-9))
    back = np.asarray(law.back(size, x))
    assert np.all((back >= 0.0) & (back <= 1.0))
    assert np.all(back[size > 1.0] < 1e-9) if back.ndim else back == 0.0


def test_a_row_that_a_model_does_not_have_is_named():
    class Wrong(MODELS["felif"]):
        name = "wrong"

        @staticmethod
        def ln_rate(size, x):
            return x.nothing

    with pytest.raises(AttributeError, match="no row is called 'nothing'; there are drive, k_cap"):
        machine_laws(Wrong, False)
    assert isinstance(bind(Wrong, NUMPY), SimpleNamespace)
