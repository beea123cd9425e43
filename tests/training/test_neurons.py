"""FeLIF and LIF layers: gradients against autograd through every substep, resets, state, devices, errors."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.parts import Range
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.training.dynamics.laws import rows_of, torch_laws
from bruno_spice.training.networks.config_file import default_config
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF

CARD = FeLIFCard.published().with_values(v_floor=0.0, v_reset=0.0, t_refractory=0.25e-3)
SUBSTEPS = 250
STEPS, BATCH, INPUTS, HIDDEN, LAST = 6, 3, 8, 6, 5


def three_domain_card():
    shared = {name: CARD[name] for name in FeLIFCard.UNITS}
    domains = {
        f"{name}_{k}": value
        for k, values in enumerate([(11.5e8, -2e7, 0.3), (12.5e8, 0.0, 0.5), (13.5e8, 2e7, 0.2)], start=1)
        for name, value in zip(FeLIFCard.DOMAIN_UNITS, values, strict=True)
    }
    return FeLIFCard.from_values(shared | domains, source="test", domains=3)


def two_layers(
    gradient, surrogate="charge", reset="macro", solver="euler", read_voltage=False, card=CARD, steps=STEPS, **options
):
    """Gradients by input, forward and recurrent weights of a recurrent two-layer net, flattened; and its spikes."""
    torch.manual_seed(1)
    x = torch.randint(0, 2, (steps, BATCH, INPUTS)).double()
    weights = [
        torch.randn(shape).double().requires_grad_() for shape in ((INPUTS, HIDDEN), (HIDDEN, LAST), (HIDDEN, HIDDEN))
    ]
    read = torch.randn(LAST).double()
    options.setdefault("accuracy", SUBSTEPS if solver == "euler" else 1e-6)
    neuron = FeLIF(card, gradient, solver, surrogate, reset, **options).double()
    lengths = torch.tensor([steps, steps - 2, steps // 2])
    first, second = (
        neuron.initial_state(BATCH, n)._replace(domains=torch.rand(card.domains, BATCH, n).double() * 1.9 - 1)
        for n in (HIDDEN, LAST)
    )
    one, _ = neuron(x @ (weights[0] * 0.5 + 0.3) * 1e-9, first, weights[2] * 0.6e-9, lengths)
    two, _ = neuron((one.spikes @ (weights[1] * 0.8 + 0.3) + 0.5) * 2e-9, second, None, lengths)
    shown = two.spikes * read
    if read_voltage:
        shown = shown + 0.1 * two.voltage_v + 0.3 * two.polarization * one.spikes[..., :LAST]
    loss = (shown.cumsum(0) / steps).pow(2).mean()
    gradients = torch.autograd.grad(loss, weights)
    return torch.cat([g.flatten() for g in gradients]), torch.cat([one.spikes, two.spikes], dim=-1).detach()


def compare(ours, truth):
    """Cosine and norm ratio of two gradients."""
    return float(ours @ truth / (ours.norm() * truth.norm())), float(ours.norm() / truth.norm())


@pytest.mark.parametrize("reset", ["macro", "event"])
@pytest.mark.parametrize("surrogate", ["charge", "voltage"])
def test_tangents_are_the_gradient_through_every_substep(surrogate, reset):
    options = {"surrogate": surrogate, "reset": reset, "read_voltage": True}
    truth, spikes = two_layers("bptt", **options)
    ours, our_spikes = two_layers("tangent", **options)
    assert torch.equal(spikes, our_spikes)
    assert 10 < spikes.sum() < spikes.numel() / 2
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))


def test_tangents_hold_for_several_domains():
    truth, spikes = two_layers("bptt", card=three_domain_card(), read_voltage=True)
    assert spikes.sum() > 5
    ours, _ = two_layers("tangent", card=three_domain_card(), read_voltage=True)
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))
    adaptive, _ = two_layers("tangent", solver="rosenbrock", card=three_domain_card(), read_voltage=True)
    cosine, ratio = compare(adaptive, truth)
    assert cosine > 0.99
    assert ratio == pytest.approx(1.0, abs=0.1)


def test_checkpoint_gives_the_gradient_of_bptt():
    truth, _ = two_layers("bptt", accuracy=20)
    ours, _ = two_layers("checkpoint", accuracy=20)
    torch.testing.assert_close(ours, truth, rtol=1e-12, atol=0.0)


def test_checkpoint_keeps_no_more_for_a_millisecond_of_more_substeps(felif_card):
    def graph_nodes(steps, substeps):
        neuron = FeLIF(felif_card, "checkpoint", solver="euler", accuracy=substeps)
        out, _ = neuron(torch.full((steps, 1, 2), 3e-9, dtype=torch.float64, requires_grad=True))
        seen, todo = set(), [out.spikes.grad_fn]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen:
                seen.add(node)
                todo += [following for following, _ in node.next_functions]
        return len(seen)

    assert graph_nodes(3, 10) == graph_nodes(3, 300) < 3 * graph_nodes(1, 10) + 3


def test_bruno_is_close_to_the_exact_gradient_on_charge_and_as_published_too_large_on_voltage():
    exact, _ = two_layers("tangent", steps=12)
    cosine, ratio = compare(two_layers("bruno", steps=12)[0], exact)
    assert cosine > 0.98
    assert 0.8 < ratio < 1.25
    exact, _ = two_layers("tangent", surrogate="voltage", steps=12)
    assert compare(two_layers("bruno-published", surrogate="voltage", steps=12)[0], exact)[1] > 2.0


def test_the_coarse_forward_pass_spikes_wrongly():
    _, truth = two_layers("bruno")
    _, coarse = two_layers("coarse")
    assert (truth != coarse).double().mean() > 0.1


def one_layer_inputs(steps=6, batch=2, width=4, scale_a=3e-9):
    torch.manual_seed(3)
    current_a = (torch.rand(steps, batch, width).double() * 1.2 - 0.2) * scale_a
    domains = torch.rand(1, batch, width).double() * 1.9 - 1
    return current_a, domains


def test_bruno_as_published_is_a_straight_through_estimator_on_one_coarse_step():
    law = torch_laws(FeLIFModel)
    """The fused gradient equals autograd of V_c + stop(V_f - V_c), the rule as Fehlings et al. state it."""
    from bruno_spice.training.dynamics.surrogates import Spike
    from bruno_spice.training.dynamics.unrolled import euler_step

    current_a, domains = one_layer_inputs()
    current_a = current_a.abs()
    neuron = FeLIF(CARD, "bruno-published").double()
    start = neuron.initial_state(2, 4)._replace(domains=domains)
    constants = neuron.constants()

    def loss(spikes, voltage):
        return ((spikes + 0.2 * voltage).cumsum(0) ** 2).mean()

    current_a.requires_grad_()
    out, _ = neuron(current_a, start)
    fused = torch.autograd.grad(loss(out.spikes, out.voltage_v), current_a)[0]

    state, shown = start, []
    v, p = start.voltage_v, start.domains
    for i_a in current_a:
        with torch.no_grad():
            fine, state = neuron(i_a[None], state)
        v_coarse, p_coarse = euler_step(law, rows_of(law, constants), v, p, i_a, 1.0, detach_tau=True)
        v_seen = v_coarse + (fine.voltage_v[0] - v_coarse).detach()
        p_seen = p_coarse + (fine.polarization - p_coarse).detach()
        spikes = Spike.apply(neuron.surrogate.distance(v_seen, p_seen, constants), fine.spikes[0], neuron.surrogate)
        fired = spikes.detach() > 0
        v, p = torch.where(fired, 0.0, v_seen), torch.where(fired, -1.0, p_seen)
        shown.append((spikes, v_seen))
    spikes, voltage = (torch.stack(column) for column in zip(*shown, strict=True))
    assert spikes.sum() > 0
    literal = torch.autograd.grad(loss(spikes, voltage), current_a)[0]
    assert compare(fused.flatten(), literal.flatten()) == pytest.approx((1.0, 1.0), abs=1e-6)


@pytest.mark.parametrize(
    ("gradient", "solver", "accuracy"),
    [
        ("tangent", "rosenbrock", 1e-9),
        ("tangent", "euler", 40),
        ("bptt", "euler", 10),
        ("checkpoint", "euler", 10),
        ("coarse", "euler", 1),
    ],
)
@pytest.mark.parametrize("reset", ["macro", "event"])
def test_gradcheck_with_a_smooth_loss(gradient, solver, accuracy, reset):
    """Below threshold, voltage and polarization are smooth in current and state: finite differences decide."""
    torch.manual_seed(5)
    neuron = FeLIF(CARD, gradient, solver, reset=reset, accuracy=accuracy).double()
    start = neuron.initial_state(1, 2)
    read = torch.randn(4).double()

    def smooth(current_na, v, p):
        out, state = neuron(current_na * 1e-9, start._replace(voltage_v=v, domains=p))
        assert out.spikes.sum() == 0
        shown = (out.voltage_v[0], out.polarization[0], state.voltage_v, state.domains[0])
        return sum(weight * (x**2).sum() for weight, x in zip(read, shown, strict=True))

    current_na = torch.tensor([[[0.2, -0.1]], [[-0.05, 0.3]]])
    v, p = torch.tensor([[0.4, 0.1]]), torch.tensor([[[-0.5, -0.9]]])
    inputs = [x.double().requires_grad_() for x in (current_na, v, p)]
    assert torch.autograd.gradcheck(smooth, inputs, eps=1e-5, atol=1e-6, rtol=1e-4)


def test_a_sequence_cut_in_two_gives_the_same_numbers_and_gradients():
    current_a, domains = one_layer_inputs(steps=8)
    neuron = FeLIF(CARD, "tangent").double()
    start = neuron.initial_state(2, 4)._replace(domains=domains)
    recurrent = (torch.randn(4, 4).double() * 1e-9).requires_grad_()
    current_a.requires_grad_()
    whole, _ = neuron(current_a, start, recurrent)
    head, state = neuron(current_a[:3], start, recurrent)
    tail, _ = neuron(current_a[3:], state, recurrent)
    spikes = torch.cat([head.spikes, tail.spikes])
    assert torch.equal(whole.spikes, spikes)
    torch.testing.assert_close(whole.voltage_v, torch.cat([head.voltage_v, tail.voltage_v]))
    expected = torch.autograd.grad((whole.spikes.cumsum(0) ** 2).mean(), (current_a, recurrent))
    cut = torch.autograd.grad((spikes.cumsum(0) ** 2).mean(), (current_a, recurrent))
    for one, other in zip(expected, cut, strict=True):
        torch.testing.assert_close(one, other)


def test_what_comes_after_the_end_of_a_sequence_changes_nothing():
    current_a, domains = one_layer_inputs(steps=6)
    neuron = FeLIF(CARD, "tangent").double()
    start = neuron.initial_state(2, 4)._replace(domains=domains)
    changed = current_a.clone()
    changed[3:, 1] = 5e-9
    lengths = torch.tensor([6, 3])
    one, _ = neuron(current_a, start, None, lengths)
    other, _ = neuron(changed, start, None, lengths)
    assert torch.equal(one.voltage_v, other.voltage_v)
    assert torch.all(one.voltage_v[3:, 1] == 0)


def test_event_reset_lets_a_neuron_spike_several_times_a_millisecond():
    neuron = FeLIF(CARD.with_values(t_refractory=50e-6), reset="event").double()
    out, state = neuron(torch.full((4, 1, 1), 60e-9).double())
    assert out.spikes.max() > 1
    assert torch.all(state.hold_ms >= 0)


def test_event_reset_counts_the_spikes_of_the_transient():
    from bruno_spice.devices.ferroelectric.scalar.transient import simulate
    from bruno_spice.devices.stimulus import Stimulus

    levels = [4e-9, 12e-9, 0.0, -1e-9, 20e-9, 6e-9, 25e-9, 3e-9]
    wave = simulate(CARD, Stimulus.steps(levels, rise_s=1e-9), 8e-3)
    truth, _ = torch.histogram(torch.tensor(wave.spike_times_s), torch.linspace(0, 8e-3, 9).double())
    neuron = FeLIF(CARD, solver="rosenbrock", reset="event", accuracy=1e-7).double()
    out, _ = neuron(torch.tensor(levels).double()[:, None, None])
    assert truth.sum() >= 4
    assert torch.equal(out.spikes.flatten(), truth)
    assert out.voltage_v[-1].item() == pytest.approx(wave["v_mem_v"][-1], abs=1e-4)


def test_each_neuron_may_be_a_device_of_its_own():
    current_a, _ = one_layer_inputs(steps=8, width=3)
    thresholds = torch.tensor([2.0, 2.5, 3.0]).double()
    neuron = FeLIF(CARD).double()
    neuron.set_devices({"v_threshold": thresholds})
    together, _ = neuron(current_a.abs())
    for n, threshold in enumerate(thresholds):
        alone, _ = FeLIF(CARD.with_values(v_threshold=float(threshold))).double()(current_a.abs()[..., n : n + 1])
        assert torch.equal(together.spikes[..., n : n + 1], alone.spikes)
        torch.testing.assert_close(together.voltage_v[..., n : n + 1], alone.voltage_v)
    assert "device_v_threshold" in neuron.state_dict()


def test_precision_follows_the_input_and_double():
    current_a, _ = one_layer_inputs()
    assert FeLIF(CARD)(current_a.float())[0].voltage_v.dtype == torch.float32
    assert FeLIF(CARD).double()(current_a.float())[0].voltage_v.dtype == torch.float64


def test_a_saturated_domain_gives_no_nan():
    current_a, domains = one_layer_inputs()
    for gradient in ("bruno", "tangent"):
        current = current_a.clone().requires_grad_()
        neuron = FeLIF(CARD, gradient).double()
        out, _ = neuron(current, neuron.initial_state(2, 4)._replace(domains=torch.ones_like(domains)))
        (out.spikes + out.voltage_v).sum().backward()
        assert torch.isfinite(current.grad).all()


def test_leaving_the_envelope_warns_once_with_the_numbers():
    card = CARD.model_copy(update={"envelope": {"i_syn": Range(min=0.0, max=3e-8, unit="A")}})
    neuron = FeLIF(card)
    with pytest.warns(UserWarning, match=r"5e-08 A.*3e-08 A"):
        neuron(torch.full((1, 1, 1), 5e-8))
    neuron(torch.full((1, 1, 1), 5e-8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "magic"}, "unknown gradient 'magic'"),
        ({"solver": "magic"}, "unknown solver 'magic'"),
        ({"reset": "magic"}, "unknown reset 'magic'"),
        ({"surrogate": "magic"}, "not at 'magic'"),
        ({"accuracy": 1e-3}, "name the solver"),
        ({"shape": "magic"}, "unknown surrogate shape 'magic'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(options, message):
    with pytest.raises(InputError, match=message):
        FeLIF(CARD, **options)


def test_wrong_shapes_and_devices_are_refused():
    neuron = FeLIF(CARD)
    with pytest.raises(InputError, match=r"\(T, B, N\)"):
        neuron(torch.zeros(3, 4))
    with pytest.raises(InputError, match="unknown parameter 'colour'"):
        neuron.set_devices({"colour": torch.ones(3)})
    neuron.set_devices({"v_threshold": torch.full((3,), 2.5)})
    with pytest.raises(InputError, match="3 devices"):
        neuron(torch.zeros(1, 1, 4))


def test_lif_leaks_spikes_and_resets():
    neuron = LIF(tau_s=2e-3, c_membrane_f=4e-12, v_threshold_v=1.4)
    current_a = torch.full((6, 1, 1), 4e-9, dtype=torch.float64)
    out, _ = neuron(current_a)
    v, expected = 0.0, []
    for _ in range(6):
        v = v * torch.exp(torch.tensor(-0.5)).item() + 4e-9 * 1e-3 / 4e-12
        expected.append(float(v >= 1.4))
        v = 0.0 if v >= 1.4 else v
    assert out.spikes.flatten().tolist() == expected
    assert 0 < sum(expected) < 6


def test_lif_takes_recurrent_weights_lengths_and_a_state():
    torch.manual_seed(0)
    neuron = LIF()
    current_a = (torch.rand(6, 2, 3) * 2e-8).requires_grad_()
    recurrent = (torch.randn(3, 3) * 1e-8).requires_grad_()
    lengths = torch.tensor([6, 2])
    whole, _ = neuron(current_a, None, recurrent, lengths)
    assert torch.all(whole.spikes[2:, 1] == 0)
    whole.spikes.cumsum(0).pow(2).mean().backward()
    assert recurrent.grad.abs().sum() > 0
    assert torch.all(current_a.grad[2:, 1] == 0)
    head, state = neuron(current_a[:4], None, recurrent)
    tail, _ = neuron(current_a[4:], state, recurrent)
    full, _ = neuron(current_a, None, recurrent)
    torch.testing.assert_close(torch.cat([head.voltage_v, tail.voltage_v]), full.voltage_v)


def test_a_lif_network_takes_what_it_knows_of_the_neuron_options(felif_card, rram_card):
    config = default_config("chorales").with_values(
        network__neuron="lif", neuron__options={"slope": 7, "reset": "event"}
    )
    layer = build_network(config, 2, 2, felif_card, rram_card).hidden[0]
    assert layer.neuron.surrogate.slope == 7
    with pytest.raises(InputError, match="there is no 'slpe'"):
        build_network(config.with_values(neuron__options={"slpe": 7}), 2, 2, felif_card, rram_card)


def test_a_solver_that_the_gradient_cannot_use_is_refused():
    with pytest.raises(InputError, match="goes through euler's steps, not those of rosenbrock"):
        FeLIF(CARD, "bptt", solver="rosenbrock", accuracy=1e-6)


def test_plain_torch_takes_the_same_step_as_the_simd_kernel():
    from bruno_spice.training.dynamics.logistic import logistic_torch
    from bruno_spice.training.dynamics.membrane import Membrane
    from bruno_spice.training.dynamics.solvers import logistic

    torch.manual_seed(0)
    n = 600
    constants = FeLIF(CARD).constants().float()
    for event in (False, True):
        v, p = torch.rand(n) * 2.3, torch.rand(1, n) * 1.9 - 1
        hold = torch.where(torch.rand(n) < 0.1, 0.3, 0.0) * event
        i_a = (torch.rand(n) * 9 - 1) * 1e-9 * (1 + 2 * (torch.rand(n) < 0.2))
        one, other = (Membrane(v.clone(), p.clone(), hold.clone(), v.clone()) for _ in range(2))
        simd = logistic(FeLIFModel, constants, one, i_a, 12, event, True)
        plain = logistic_torch(FeLIFModel, constants, other, i_a, 12, event, True)
        same = simd.spikes == plain.spikes
        assert same.sum() >= n - 1
        torch.testing.assert_close(one.v[same], other.v[same], atol=1e-4, rtol=0)
        torch.testing.assert_close(one.hold[same], other.hold[same], atol=2e-3, rtol=0)
        for ours, theirs in [(simd.tangents, plain.tangents), (simd.late, plain.late)][: 1 + event]:
            size = theirs.abs().amax(dim=-1, keepdim=True) + 1e-9
            assert ((ours - theirs) / size)[..., same].abs().max() < 2e-2


@pytest.mark.parametrize("reset", ["macro", "event", "delayed"])
def test_gradients_reach_the_device_parameters(reset):
    names = ["v_threshold", "activation_field_1", "area", "leak_discharge", "v_reset", "polarization_reset", "alpha"]
    card = CARD.with_values(v_reset=0.05)

    def by_devices(gradient, **options):
        torch.manual_seed(0)
        neuron = FeLIF(card, gradient, reset=reset, **options).double()
        values = {name: torch.nn.Parameter(torch.full((3,), card[name]).double()) for name in names}
        neuron.set_devices(values)
        current_a = torch.rand(4, 2, 3).double() * 3.6e-9
        start = neuron.initial_state(2, 3)._replace(domains=torch.rand(1, 2, 3).double() * 1.7 - 0.8)
        out, _ = neuron(current_a, start)
        assert out.spikes.sum() >= 2
        ((out.spikes + 0.3 * out.voltage_v).cumsum(0) ** 2).mean().backward()
        return torch.stack([values[name].grad * card[name] for name in names])

    truth, ours = by_devices("bptt", solver="euler", accuracy=SUBSTEPS), by_devices("tangent")
    size = truth.abs().amax(dim=1, keepdim=True)
    assert ((ours - truth) / size).abs().max() < 0.06
