"""Cards and settings at the edge of what is legal: the layer is right there too, on each of its paths, or says no."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard, HeraclesCard
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models.rows import DRIVE, MOST_DOMAINS
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.dynamics import GRADIENTS, solvers
from bruno_spice.training.dynamics.by_devices import compiles
from bruno_spice.training.dynamics.sequence import Sequence
from bruno_spice.training.neurons.felif import FeLIF
from tests.devices.nudges import SHOWN
from tests.support.cards import one_domain_card

PUBLISHED = FeLIFCard.published()
NA = 1e-9


def film(*domains):
    """The published neuron with a film of `domains`: activation field, offset field, weight."""
    shared = {name: PUBLISHED[name] for name in FeLIFCard.UNITS}
    each = {f"{name}_{k}": value for k, values in enumerate(domains, 1)
            for name, value in zip(FeLIFCard.DOMAIN_UNITS, values, strict=True)}  # fmt: skip
    return FeLIFCard.from_values(shared | each, source="test", domains=len(domains))


def test_a_film_has_no_more_domains_than_kernels_have_rows():
    with pytest.raises(CardError, match="domains"):
        film(*[(12.7e8, 0.0, 1.0)] * (MOST_DOMAINS + 1))
    current_a = torch.linspace(2, 12, 7).mul(NA).expand(20, 1, 7)
    parts = (12.7e8, 0.0, 1.0 / MOST_DOMAINS)
    (many, _), (one, _) = (FeLIF(card, solver="logistic", accuracy=16)(current_a)
                           for card in (film(*[parts] * MOST_DOMAINS), film((12.7e8, 0.0, 1.0))))  # fmt: skip
    assert one.spikes.sum() > 10
    assert torch.equal(many.spikes, one.spikes)
    torch.testing.assert_close(many.voltage_v, one.voltage_v, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lost_millisecond_has_no_gradient(dtype):
    """At every pace: 12 to 64 substeps do not add up to 1 in single precision."""
    current_a = torch.full((2, 1, 6), 8 * NA, dtype=dtype)
    current_a[1, 0] = torch.tensor([-2.0, 5.0, 6.5, 15.0, 18.0, 29.0]) * NA
    current_a.requires_grad_()
    value = torch.nn.Parameter(torch.full((6,), PUBLISHED["area"], dtype=torch.float64))
    neuron = FeLIF(PUBLISHED, "bruno-published", "logistic", reset="delayed", accuracy=8)
    neuron.set_devices({"area": value})
    state = neuron.initial_state(1, 6, dtype)
    state = state._replace(voltage_v=torch.full((1, 6), 2.49, dtype=dtype), domains=torch.ones_like(state.domains))
    out, end = neuron(current_a, state)
    assert out.spikes.tolist() == [[[1.0] * 6], [[0.0] * 6]]
    by_current, by_area = torch.autograd.grad(end.voltage_v.sum() + end.domains.sum(), (current_a, value))
    assert not by_current[1].any()
    assert not by_area.any()


@pytest.mark.parametrize(("solver", "accuracy"), [("logistic", 1e-4), ("logistic", 0.9), ("euler", 0.5)])
def test_a_number_of_substeps_is_no_fraction(solver, accuracy):
    with pytest.raises(InputError, match=rf"accuracy of solver '{solver}' must lie within 1\.\.\."):
        FeLIF(PUBLISHED, solver=solver, accuracy=accuracy)


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_domain_without_weight_changes_nothing(dtype, gradient):
    """Nor has any gradient a NaN, that of the weight itself included."""
    first, other = (11.5e8, -2e7, 0.6), (13.5e8, 2e7, 0.4)
    bare, without = film(first, (12.5e8, 0.0, 0.0), other), film(first, other)
    found = []
    for each in (bare, without):
        current_a = (torch.rand(20, 1, 9, generator=torch.Generator().manual_seed(0)) * 12 - 1).mul(NA).to(dtype)
        current_a.requires_grad_()
        neuron = FeLIF(each, gradient, "logistic", reset="event", accuracy=16)
        parameters = {name: torch.nn.Parameter(torch.full((9,), each[name], dtype=torch.float64))
                      for name in ("area", "alpha", *(n for n in ("domain_weight_2",) if each is bare))}  # fmt: skip
        neuron.set_devices(parameters)
        out, _ = neuron(current_a)
        (out.spikes.sum() + out.voltage_v.sum()).backward()
        assert all(torch.isfinite(p.grad).all() for p in parameters.values())
        found.append((out.spikes, out.voltage_v, current_a.grad, parameters["area"].grad, parameters["alpha"].grad))
    assert found[0][0].sum() > 10
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_euler_off_the_compiled_path_knows_what_ran_since_the_reset(monkeypatch):
    """With refractory times that end within the millisecond, at its end, and within the next."""
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(solvers, "HAVE_KERNELS", compiled)
        tries = []
        for t_refractory in (0.0, 3e-4, 1e-3):
            card = one_domain_card().with_values(t_refractory=t_refractory)
            current_a = torch.linspace(1, 30, 12, dtype=torch.float64).mul(NA).expand(6, 1, 12).clone().requires_grad_()
            out, _ = FeLIF(card, "bruno", "euler", reset="event").double()(current_a)
            tries += [out.spikes, *torch.autograd.grad(out.spikes.sum() + out.voltage_v.sum(), current_a)]
        found.append(tries)
    assert found[0][0].sum() > 20
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.detach().abs().max()))


@pytest.mark.parametrize("t_refractory", [0.0, 5e-5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_time_is_lost_where_the_refractory_one_ends_within_a_substep(dtype, t_refractory):
    card = one_domain_card().with_values(t_refractory=t_refractory)
    current_a = torch.linspace(2.5, 9.5, 40, dtype=torch.float64).mul(NA).expand(200, 1, 40)
    out, end = FeLIF(card, solver="logistic", reset="event", accuracy=8)(current_a.to(dtype))
    true, _ = FeLIF(card, solver="rosenbrock", reset="event", accuracy=1e-7).double()(current_a)
    ratio = float(out.spikes.sum() / true.spikes.sum())
    assert true.spikes.sum() > 1000
    assert ratio == pytest.approx(1.0, abs=2e-3)
    assert torch.all(end.hold_ms > -0.17)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_published_rule_knows_what_a_device_does_after_a_reset(dtype):
    """V after it is V_reset + DRIVE t I: as much by ln DRIVE as by ln I."""
    neuron = FeLIF(PUBLISHED.with_values(t_refractory=1e-4), "bruno-published", "logistic", reset="event", accuracy=8)
    current_a = torch.tensor([[[6.0, 8.0, 12.0]]], dtype=dtype).mul(NA).requires_grad_()
    start = neuron.initial_state(1, 3, dtype)
    constants = neuron.constants().detach().expand(-1, 3).clone().requires_grad_()
    nearly = torch.full((1, 3), 2.49, dtype=dtype)
    full = torch.ones_like(start.domains)
    inputs = Sequence(current_a, nearly, full, start.hold_ms, start.step_ms, start.spikes, constants, None, None)
    out = GRADIENTS.find("bruno-published").run(inputs, neuron._plan(dtype, current_a.device))
    assert (out.spikes == 1.0).all()
    assert (out.hold <= 0.0).all()
    by_current, by_constants = torch.autograd.grad(out.v.sum(), (current_a, constants))
    assert (by_current > 0.0).all()
    ours = by_constants[DRIVE] * constants.detach()[DRIVE]
    torch.testing.assert_close(ours.to(dtype), (by_current * current_a).detach()[0, 0], rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("solver", ["logistic", "rosenbrock", "euler"])
@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
@pytest.mark.parametrize(("steps", "lengths"), [(5, (3, 2)), (2, (0, 0)), (0, (0, 0))])
def test_sequences_that_all_end_early(solver, gradient, steps, lengths):
    """Step by step as far as the longest one goes, then zeros, and gradients as of the shorter input."""
    found = []
    for until in (steps, max(lengths)):
        current_a = torch.full((until, 2, 3), 6 * NA, dtype=torch.float64, requires_grad=True)
        value = torch.nn.Parameter(torch.full((3,), PUBLISHED["area"], dtype=torch.float64))
        neuron = FeLIF(PUBLISHED, gradient, solver, reset="event").double()
        neuron.set_devices({"area": value})
        out, end = neuron(current_a, lengths=torch.tensor(lengths))
        assert not out.voltage_v[max(lengths) :].any()
        loss = out.spikes.sum() + out.voltage_v.sum() + end.voltage_v.sum()
        loss.backward()
        found.append((end.voltage_v, value.grad))
        assert not current_a.grad[max(lengths) :].any()
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("card", [SHOWN["heracles"].card, HeraclesCard.published().with_values(v_reset=0.3)])
def test_a_layer_starts_at_0_v_whatever_it_resets_to(card):
    assert card["v_reset"] != 0.0
    neuron = FeLIF(card, solver="rosenbrock", reset="event", accuracy=1e-8).double()
    out, _ = neuron(torch.full((3, 1, 1), 3 * NA, dtype=torch.float64))
    true = simulate(card, Stimulus(np.array([0.0, 3e-3]), np.full(2, 3 * NA)), 3e-3, 1e-3)
    np.testing.assert_allclose(out.voltage_v[:, 0, 0], true["v_mem_v"][1:], atol=1e-5)


def test_gradients_by_devices_say_where_there_is_no_kernel():
    plan = FeLIF(PUBLISHED, "tangent")._plan(torch.float32, torch.device("cpu"))
    assert compiles(plan, SimpleNamespace(v=torch.empty(0)))
    with pytest.warns(UserWarning, match="on 'meta' they have no kernel, and 32 substeps"):
        assert not compiles(plan, SimpleNamespace(v=torch.empty(0, device="meta")))


@pytest.mark.parametrize("wrap", [torch.nn.Parameter, lambda value: value])
def test_devices_stay_as_they_are_in_a_network_in_bfloat16(wrap):
    neuron = FeLIF(PUBLISHED)
    value = wrap(torch.tensor([2.4998609, 2.5]))
    neuron.set_devices({"v_threshold": value})
    neuron.bfloat16()
    assert torch.equal(neuron.device_v_threshold, torch.tensor([2.4998609, 2.5]))
    assert isinstance(neuron.device_v_threshold, torch.nn.Parameter) == isinstance(value, torch.nn.Parameter)
    assert neuron.double().device_v_threshold.dtype == torch.float64
