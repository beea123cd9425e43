"""Numbers that are none: a layer says so by name, and no adaptive solver waits for one to arrive."""

import math
import threading

import numpy as np
import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar import windows
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF
from bruno_spice.training.synapses.rram import RRAMLinear

CARD = FeLIFCard.published()
STEPS, BATCH, WIDTH = 8, 2, 3
LIMIT_S = 240.0
"""Compiling a kernel on a busy machine included."""


def ends(work):
    """What `work` returns; an assertion fails where it does not within `LIMIT_S`."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert found, "it does not end"
    return found[0]


def current(value=8e-9, dtype=torch.float32):
    return torch.full((STEPS, BATCH, WIDTH), value, dtype=dtype)


@pytest.mark.parametrize("gradient", ["bruno", "tangent", "bptt", "checkpoint", "coarse"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_current_that_is_no_number_is_named_with_its_place(gradient, dtype, value):
    i_a = current(dtype=dtype)
    i_a[5, 1, 2] = value
    with pytest.raises(InputError, match=f"current .8x2x3. holds {value} at step 5, sequence 1, neuron 2"):
        FeLIF(CARD, gradient)(i_a)


@pytest.mark.parametrize("field", ["voltage_v", "domains", "hold_ms", "step_ms", "spikes"])
def test_a_state_that_is_no_number_is_named(field):
    neuron = FeLIF(CARD).double()
    state = neuron.initial_state(BATCH, WIDTH)
    value = getattr(state, field).clone()
    value[..., 1] = math.nan
    state = state._replace(**{field: value})
    with pytest.raises(InputError, match=f"state's {field}"):
        neuron(current(dtype=torch.float64), state)


def test_recurrent_weights_and_devices_that_are_no_number_are_named():
    weights = torch.zeros(WIDTH, WIDTH)
    weights[1, 2] = math.nan
    with pytest.raises(InputError, match=r"recurrent current .3x3. holds nan at neuron 1, to neuron 2"):
        FeLIF(CARD)(current(), None, weights)
    neuron = FeLIF(CARD)
    neuron.set_devices({"area": torch.tensor([25e-12, math.nan, 25e-12])})
    with pytest.raises(InputError, match=r"devices' area .3. holds nan at neuron 1"):
        neuron(current())


def test_a_current_that_no_synapse_gives_is_refused():
    with pytest.raises(InputError, match="reaches 8 A"):
        FeLIF(CARD)(current(8.0))


@pytest.mark.parametrize("layer", [FeLIF(CARD), LIF()])
def test_float16_is_refused_by_name_and_bfloat16_spikes_as_float32_does(layer):
    with pytest.raises(InputError, match=r"float16.*float32"):
        layer(current(dtype=torch.float16))
    exact, coarse = (layer(current(8e-9, dtype))[0].spikes.sum() for dtype in (torch.float32, torch.bfloat16))
    assert exact > 0
    assert abs(float(coarse - exact)) <= 0.05 * float(exact)


def test_autocast_to_float16_is_refused_by_name(rram_card):
    for layer, inputs in (
        (RRAMLinear(4, 3, rram_card), torch.rand(2, 4)),
        (FeLIF(CARD), current()),
        (LIF(), current()),
    ):
        with torch.autocast("cpu", dtype=torch.float16), pytest.raises(InputError, match="float16"):
            layer(inputs)


def test_autocast_to_bfloat16_spikes_as_float32_does_and_gradients_are_finite(rram_card):
    torch.manual_seed(1)
    synapse = RRAMLinear(4, 3, rram_card)
    torch.nn.init.normal_(synapse.weight)
    neuron, x = FeLIF(CARD), torch.rand(20, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recurrent = 1e-9 * torch.ones(3, 3)
        out, _ = neuron(1e-8 * synapse(x), None, recurrent)
        out.spikes.sum().backward()
    assert float(out.spikes.detach().sum()) > 0
    assert bool(torch.isfinite(synapse.weight.grad).all())
    with torch.no_grad():
        alike, _ = neuron(synapse(x) * 1e-8, None, recurrent)
    assert abs(float(alike.spikes.sum() - out.spikes.detach().sum())) <= 3


def test_a_layer_turned_to_half_precision_is_refused_by_name(rram_card):
    with pytest.raises(InputError, match="FeLIF computes in float32 or float64, not in torch"):
        FeLIF(CARD).half()(current())
    for scheme in ("differential", "offset"):
        with pytest.raises(InputError, match="RRAMLinear computes in float32 or float64, not in torch"):
            RRAMLinear(4, 3, rram_card, scheme=scheme).half()(torch.rand(2, 4))


@pytest.mark.parametrize("scheme", ["differential", "offset"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_named_with_its_place(scheme, value, rram_card):
    synapse = RRAMLinear(4, 3, rram_card, scheme=scheme)
    with torch.no_grad():
        synapse.weight[2, 1] = value
    for use in (lambda: synapse(torch.rand(2, 4)), synapse.programming_table):
        with pytest.raises(InputError, match=f"weight .3x4. holds {value} at output 2, input 1"):
            use()


@pytest.mark.parametrize("accuracy", [math.nan, 0.0, -1.0, math.inf])
def test_an_accuracy_that_no_step_reaches_is_refused(accuracy):
    with pytest.raises(InputError, match="accuracy"):
        FeLIF(CARD, solver="rosenbrock", accuracy=accuracy)


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize("tangents", [False, True])
@pytest.mark.parametrize("kernel", ["rosenbrock_windows", "euler_windows"])
@pytest.mark.parametrize(
    ("v", "p", "i_a"), [(0.0, -1.0, math.nan), (math.nan, -1.0, 1e-8), (0.0, math.nan, 1e-8), (0.0, -1.0, math.inf)]
)
def test_every_stepping_kernel_ends_with_no_number_where_one_went_in(kernel, event, tangents, v, p, i_a):
    constants = FeLIFParameters.from_card(CARD).constants()[None]
    n, wide = 2, 2 if tangents else 0
    state = [np.array([0.0, v]), np.array([[-1.0, p]]), np.zeros(n)]
    if kernel == "rosenbrock_windows":
        state.append(np.full(n, 1e-2))
    setting = 1e-4 if kernel == "rosenbrock_windows" else 100
    out = [np.zeros((2, n)), np.zeros(n), np.zeros(n), np.zeros((2, 3, wide)), np.zeros((3, wide))]
    arguments = (0, n, constants, *state, np.array([1e-9, i_a]), np.zeros(n), setting, event, *out)
    step = compiled(getattr(windows, kernel), FeLIFModel)
    ends(lambda: (step(*arguments), True))
    assert not math.isfinite(state[0][1]) or state[0][1] == CARD["v_reset"]
    assert math.isfinite(state[0][0])


@pytest.mark.parametrize("start", [{"v_start": math.nan}, {"polarization_start": math.nan}, {"rtol": 1e-300}])
def test_the_transient_of_no_number_ends_in_a_sentence(start):
    stimulus = Stimulus(np.array([0.0, 1e-3]), np.array([1e-9, 1e-9]))
    with pytest.raises(InputError, match="step size underflows"):
        ends(lambda: caught(lambda: simulate(CARD, stimulus, 1e-3, **start)))()


def test_the_transient_of_a_lightning_stroke_ends():
    stimulus = Stimulus(np.array([0.0, 1e-3]), np.array([1.0, 1.0]))
    card = CARD.with_values(t_refractory=0.0)
    with pytest.raises(InputError, match="underflows"):
        ends(lambda: caught(lambda: simulate(card, stimulus, 1e-3)))()


def caught(work):
    """A function that does again what `work` did: returns, or raises."""
    try:
        found = work()
    except InputError as error:
        problem = error

        def again():
            raise problem

        return again
    return lambda: found


@pytest.mark.parametrize("gradient", ["bruno", "tangent", "checkpoint"])
def test_a_second_derivative_is_refused_by_name_and_bptt_has_one(gradient):
    def gradient_of(name):
        current = torch.full((2, 1, 3), 5e-9, dtype=torch.float64, requires_grad=True)
        options = {"solver": "euler", "accuracy": 40} if name in ("bptt", "checkpoint") else {}
        out, _ = FeLIF(CARD, name, **options)(current)
        return torch.autograd.grad(out.voltage_v.sum() * 1e-9, current, create_graph=True)[0]

    with pytest.raises(InputError, match="cannot be differentiated again"):
        gradient_of(gradient)
    assert gradient_of("bptt").requires_grad


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch.func itself
def test_function_transforms_and_export_are_refused_in_one_sentence():
    neuron = FeLIF(CARD)
    current = torch.full((2, 1, 3), 5e-9)

    def spikes(current_a):
        return neuron(current_a)[0].spikes.sum()

    def each():
        return torch.func.vmap(spikes)(torch.stack([current, current]))

    for transformed in (
        lambda: torch.func.grad(spikes)(current),
        each,
        lambda: torch.func.jvp(spikes, (current,) * 1, (current,)),
    ):
        with pytest.raises(InputError, match=r"FeLIF runs compiled kernels, which torch\.func .* cannot transform"):
            transformed()
    with pytest.raises(InputError, match=r"FeLIF runs compiled kernels, which torch\.export cannot take"):
        torch.export.export(neuron, (current,))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch.func itself
def test_lif_can_be_transformed():
    """By `torch.func` as by backward: a spike's derivative is the surrogate's in each."""
    layer = LIF()
    current = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(1)) * 5e-9

    def looked(current_a):
        return (layer(current_a)[0].spikes * torch.arange(4.0)[:, None, None]).sum()

    leaf = current.clone().requires_grad_()
    true = torch.autograd.grad(looked(leaf), leaf)[0]
    assert true.abs().max() > 0
    torch.testing.assert_close(torch.func.grad(looked)(current), true)
    turn = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.func.jvp(looked, (current,), (turn,))[1], (true * turn).sum())
    per_sequence = torch.func.vmap(torch.func.grad(looked), in_dims=1, out_dims=1)(current[:, :, None])
    torch.testing.assert_close(per_sequence[:, :, 0], true)
