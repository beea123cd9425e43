"""FeLIF's equations, Jacobian and transient against independent mathematics."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters, derivatives
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from tests.support.felif_equations import jacobian

PUBLISHED = FeLIFParameters.from_card(FeLIFCard.published().with_values(v_reset=0.0))

PUBLISHED_FLOORED = FeLIFParameters.from_card(FeLIFCard.published().with_values(v_floor=0.0, v_reset=0.0))


def three_domains(**values: float) -> FeLIFParameters:
    """A neuron with three unequal domains and the compliance floor of a real inhibitory mirror at 0 V."""
    base = FeLIFCard.published().with_values(v_floor=0.0, v_reset=0.0, t_refractory=248e-6, **values)
    shared = {name: base[name] for name in FeLIFCard.UNITS}
    return FeLIFParameters(
        **shared,
        activation_field=np.array([11e8, 12.5e8, 14e8]),
        offset_field=np.array([-2e7, 0.0, 3e7]),
        domain_weight=np.array([0.3, 0.5, 0.2]),
    )


@pytest.mark.parametrize("parameters", [PUBLISHED, three_domains()], ids=["K=1", "K=3"])
@pytest.mark.parametrize("i_syn_a", [308e-12, -2e-9])
@pytest.mark.parametrize("v", [-0.3, 1e-3, 0.9, 2.2])
def test_jacobian_is_the_derivative_of_the_right_hand_side(parameters, v, i_syn_a):
    rng = np.random.default_rng(3)
    p = rng.uniform(-0.9, 0.9, parameters.domains)
    exact = jacobian(v, p, i_syn_a, parameters)
    state = np.concatenate([[v], p])
    step = 1e-7
    for column in range(state.size):
        shift = np.zeros_like(state)
        shift[column] = step
        up = derivatives(*_split(state + shift), i_syn_a, parameters)
        down = derivatives(*_split(state - shift), i_syn_a, parameters)
        numeric = (np.concatenate([[up[0]], up[1]]) - np.concatenate([[down[0]], down[1]])) / (2 * step)
        np.testing.assert_allclose(exact[:, column], numeric, rtol=2e-5, atol=1e-4 * np.abs(exact).max())


def _split(state):
    return state[0], state[1:]


def scipy_transient(parameters, stimulus, time_s, method="LSODA"):
    """The same transient by scipy: V, P where not held, NaN elsewhere; spike times. Events, held, restarted."""

    def rhs(t, y):
        dv, dp = derivatives(y[0], y[1:], stimulus.at(t), parameters)
        return np.concatenate([[dv], dp])

    def crossing(t, y):
        return y[0] - parameters.v_threshold

    crossing.terminal, crossing.direction = True, 1
    state, spikes = np.full((1 + parameters.domains, time_s.size), np.nan), []
    t, y = 0.0, np.concatenate([[0.0], np.full(parameters.domains, parameters.polarization_reset)])
    reset = np.concatenate([[parameters.v_reset], y[1:]])
    stops = [*stimulus.time_s[(stimulus.time_s > 0) & (stimulus.time_s < time_s[-1])], time_s[-1]]
    options = {"jac": lambda t, y: jacobian(y[0], y[1:], stimulus.at(t), parameters)} if method == "LSODA" else {}
    while t < time_s[-1]:
        stop = next(s for s in stops if s > t)
        run = solve_ivp(rhs, (t, stop), y, method, events=crossing, rtol=1e-9, atol=1e-11, dense_output=True, **options)
        covered = (time_s >= t) & (time_s <= run.t[-1])
        if covered.any():
            state[:, covered] = run.sol(time_s[covered])
        t, y = run.t[-1], run.y[:, -1]
        if run.t_events[0].size:
            spikes.append(t)
            t, y = t + parameters.t_refractory, reset
    return state[0], state[1:].T @ parameters.domain_weight, np.array(spikes)


NETWORK_LIKE = Stimulus.steps([4e-9, -5e-9, 20e-9, 0.0, -1e-9, 12e-9, 25e-9, 25e-9, -3e-9, 1e-9], rise_s=50e-6)


@pytest.mark.parametrize("parameters", [PUBLISHED, three_domains()], ids=["K=1", "K=3"])
@pytest.mark.parametrize(
    ("stimulus", "t_stop_s"), [(Stimulus.dc(800e-12), 0.06), (NETWORK_LIKE, 0.01)], ids=["dc", "network"]
)
def test_transient_agrees_with_an_implicit_multistep_method(parameters, stimulus, t_stop_s):
    wave = simulate(parameters, stimulus, t_stop_s)
    v, polarization, spikes = scipy_transient(parameters, stimulus, wave.time_s)
    assert spikes.size > 0
    np.testing.assert_allclose(wave.spike_times_s, spikes, rtol=1e-6)
    free = np.isfinite(v)
    assert np.abs(wave["v_mem_v"] - v)[free].max() < 2e-5
    assert np.abs(wave["polarization"] - polarization)[free].max() < 2e-5


def test_explicit_method_agrees_too_where_nothing_is_stiff():
    stimulus = Stimulus.dc(800e-12)
    wave = simulate(PUBLISHED, stimulus, 0.02)
    _, _, spikes = scipy_transient(PUBLISHED, stimulus, wave.time_s, method="DOP853")
    np.testing.assert_allclose(wave.spike_times_s, spikes, rtol=1e-6)


def test_spike_times_converge_with_the_tolerance():
    best = simulate(three_domains(), NETWORK_LIKE, 0.01, rtol=1e-11).spike_times_s
    errors = [
        np.abs(simulate(three_domains(), NETWORK_LIKE, 0.01, rtol=rtol).spike_times_s - best).max()
        for rtol in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


def test_spike_times_are_smooth_in_the_parameters():
    """Finite differences at two step sizes agree, so least squares can differentiate a simulation."""

    def first_spike(activation):
        x = FeLIFCard.published().with_values(activation_field_1=activation)
        return simulate(x, Stimulus.dc(308e-12), 0.06).spike_times_s[0]

    slopes = [(first_spike(12.7e8 * (1 + h)) - first_spike(12.7e8 * (1 - h))) / (2 * h) for h in (1e-3, 1e-4)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)


def test_membrane_is_held_at_reset_for_the_refractory_time():
    wave = simulate(PUBLISHED, Stimulus.dc(800e-12), 0.03, dt_s=10e-6)
    first = wave.spike_times_s[0]
    held = (wave.time_s > first) & (wave.time_s < first + PUBLISHED.t_refractory)
    assert held.sum() > 90
    assert np.all(wave["v_mem_v"][held] == PUBLISHED.v_reset)
    assert np.all(wave["polarization"][held] == PUBLISHED.polarization_reset)


def test_charge_is_conserved_until_the_first_spike():
    """Integral of the current equals C V + A P, up to the leak, which a small current integral shows."""
    x = FeLIFCard.published().with_values(leak_density=0.0, leak_discharge=0.0)
    x = FeLIFParameters.from_card(x)
    wave = simulate(x, Stimulus.dc(308e-12, rise_s=1e-6), 0.04)
    charge = x.c_total * wave["v_mem_v"] + x.area * x.saturation_polarization * (wave["polarization"] + 1.0)
    supplied = 308e-12 * np.clip(wave.time_s - 0.5e-6, 0.0, None)
    np.testing.assert_allclose(charge[1:], supplied[1:], rtol=1e-6)


def test_inhibition_stops_at_the_compliance_floor():
    stimulus = Stimulus.dc(-5e-9)
    floored = PUBLISHED_FLOORED
    wave = simulate(floored, stimulus, 5e-3)
    assert -5e-3 < wave["v_mem_v"].min() < 0.0
    assert simulate(PUBLISHED, stimulus, 5e-3)["v_mem_v"].min() < -3.0
    from_below = simulate(floored, stimulus, 5e-3, v_start=-1.0)
    assert from_below["v_mem_v"][-1] == pytest.approx(wave["v_mem_v"][-1], abs=1e-4)


def test_identical_domains_behave_as_one():
    shared = {name: getattr(PUBLISHED, name) for name in FeLIFCard.UNITS}
    split = FeLIFParameters(
        **shared,
        leak=PUBLISHED.leak,
        activation_field=np.full(4, 12.7e8),
        offset_field=np.zeros(4),
        domain_weight=np.array([0.1, 0.2, 0.3, 0.4]),
    )
    one, four = (simulate(x, Stimulus.dc(800e-12), 0.04) for x in (PUBLISHED, split))
    np.testing.assert_allclose(four.spike_times_s, one.spike_times_s, rtol=1e-7)
    np.testing.assert_allclose(four["polarization"], one["polarization"], atol=1e-5)


def test_a_reset_above_the_threshold_is_refused():
    with pytest.raises(InputError, match="v_reset"):
        FeLIFParameters.from_card(FeLIFCard.published().with_values(v_reset=3.0))


def test_nonsense_times_are_refused():
    with pytest.raises(InputError, match="positive"):
        simulate(PUBLISHED, Stimulus.dc(1e-9), -1.0)
