"""The Triton kernels give what the torch reference gives: values to 1e-5, tangents and gradients to 1e-4.

Triton's interpreter runs them on the CPU, slowly. The same sources are compiled for a GPU, which takes none; on a GPU
they were not run here.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

os.environ.setdefault("TRITON_INTERPRET", "1")
triton = pytest.importorskip("triton", reason="Triton is not installed: pip install 'bruno-spice[gpu]'")

from bruno_spice.devices.cards.base import FeLIFCard  # noqa: E402
from bruno_spice.devices.ferroelectric.gpu import numbers, sequence, sequence_back  # noqa: E402
from bruno_spice.training.dynamics import adjoint, at_once, gradients, membrane, solvers, surrogates  # noqa: E402
from bruno_spice.training.neurons.felif import FeLIF  # noqa: E402
from tests.devices.nudges import dead_layer_card, two_domain_card  # noqa: E402
from tests.support.cards import one_domain_card  # noqa: E402

N = sequence.BLOCK + 1
"""Neurons: a block and one beyond its edge."""


def six_domain_card():
    """The committed neuron's film in six parts."""
    committed = FeLIFCard.load("data/calibrated/felif.json")
    values = {name: committed[name] for name in FeLIFCard.UNITS}
    parts = ((0.4, 1.7e8), (0.2, 1.5e8), (0.15, 1.2e8), (0.1, 2e8), (0.1, 1.6e8), (0.05, 1.9e8))
    for k, (weight, field) in enumerate(parts, 1):
        values |= {f"domain_weight_{k}": weight, f"activation_field_{k}": field, f"offset_field_{k}": 1e5 * k}
    return FeLIFCard.from_values(values, source="test", domains=6)


def hasty_card():
    """One whose refractory time ends within the substep of a crossing."""
    return one_domain_card().with_values(t_refractory=0.0)


def weightless_card():
    """A film of six parts, one of them next to none."""
    return six_domain_card().with_values(domain_weight_1=0.45, domain_weight_6=0.0)


@pytest.fixture
def on(monkeypatch):
    """Take sequences by the torch reference or by the Triton kernels, on the CPU both."""
    launched = []
    kernel = membrane.take_sequence
    for module in (membrane, at_once):
        monkeypatch.setattr(module, "take_sequence", lambda *how, **more: launched.append(1) or kernel(*how, **more))
    monkeypatch.setattr(gradients, "goes_at_once", lambda *_: False)
    monkeypatch.setattr(adjoint, "sweeps_at_once", lambda *_: False)
    monkeypatch.setattr(solvers, "HAVE_KERNELS", False)

    def choose(way):
        launched.clear()
        for module in (at_once, solvers):
            monkeypatch.setattr(module, "has_triton", lambda _: way == "triton")
        return launched

    return choose


def outputs_and_gradients(card, reset, steps, batch, width, recurrent, lengths, accuracy=4, **options):
    """What a layer shows, its last state, and the gradients of all of it by current, start and recurrent weights."""
    dice = torch.Generator().manual_seed(1)
    current_a = (torch.rand(steps, batch, width, generator=dice) * 33e-9 - 4e-9).requires_grad_()
    looked = torch.randn(5, steps, batch, width, generator=dice)
    weights = (torch.randn(width, width, generator=dice) * 2e-9).requires_grad_() if recurrent else None
    neuron = FeLIF(card, "tangent", "logistic", reset=reset, accuracy=accuracy, **options)
    state = neuron.initial_state(batch, width)
    start = (torch.rand(batch, width, generator=dice) * 0.5).requires_grad_()
    out, end = neuron(current_a, state._replace(voltage_v=start), weights, lengths)
    shown = (out.spikes, out.voltage_v, out.polarization)
    objective = sum((look * each).sum() for look, each in zip(looked, shown, strict=False))
    objective = objective + (looked[3, 0] * end.voltage_v).sum() + (looked[4, :1] * end.domains).sum()
    inputs = [x for x in (current_a, start, weights) if x is not None]
    found = torch.autograd.grad(objective, inputs)
    return [each.detach() for each in (*shown, end.voltage_v, end.domains)], found


CASES = [
    (one_domain_card, "event", 3, 3, 11, False, (3, 1, 2), {"current_limits": (-2e-9, 25e-9), "limit_slope": 0.5}),
    (one_domain_card, "macro", 2, 1, N, False, None, {"surrogate": "voltage", "shape": "tanh"}),
    (six_domain_card, "event", 2, 1, N, False, None, {"shape": "arctan"}),
    (six_domain_card, "delayed", 2, 1, 2, False, None, {"shape": "superspike"}),
    (two_domain_card, "event", 2, 2, 3, True, None, {}),
    (dead_layer_card, "event", 2, 1, 5, False, None, {}),
    (hasty_card, "event", 4, 1, N, False, None, {}),
    (weightless_card, "event", 2, 1, 5, False, None, {}),
]


@pytest.mark.parametrize(("card", "reset", "steps", "batch", "width", "recurrent", "lengths", "options"), CASES)
def test_a_layer_is_that_of_the_torch_reference(on, card, reset, steps, batch, width, recurrent, lengths, options):
    lengths = None if lengths is None else torch.tensor(lengths)
    how = (card(), reset, steps, batch, width, recurrent, lengths)
    assert not on("torch")
    expected, true = outputs_and_gradients(*how, **options)
    launched = on("triton")
    found, ours = outputs_and_gradients(*how, **options)
    assert len(launched) == (steps if recurrent else 1)
    assert torch.equal(found[0], expected[0])
    assert expected[0].sum() > 0
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()
        assert (one - other).abs().max() < 1e-4
    for one, other in zip(ours, true, strict=True):
        assert (one - other).norm() < 1e-4 * other.norm()


def test_the_shapes_of_surrogates_are_all_there():
    assert tuple(surrogates.SHAPES) == sequence_back.SHAPES


def test_numbers_are_those_of_torch():
    """The functions of laws that Triton does not have, over the range in which laws call them."""
    tl = triton.language

    @triton.jit
    def each(x, out, n: tl.constexpr):
        at = tl.arange(0, n)
        value = tl.load(x + at)
        tl.store(out + at, numbers.expm1(value))
        tl.store(out + n + at, numbers.tanh(value))
        tl.store(out + 2 * n + at, numbers.log1p(tl.abs(value)))
        tl.store(out + 3 * n + at, numbers.power(tl.abs(value), -1.7))

    size = torch.logspace(-8, 1.3, 512)
    x = torch.cat([size, -size])
    out = torch.empty(4, len(x))
    each[(1,)](x, out, n=len(x))
    wide = x.double()
    true = (torch.expm1(wide), torch.tanh(wide), torch.log1p(wide.abs()), wide.abs() ** -1.7)
    for mine, exact in zip(out, true, strict=True):
        assert ((mine - exact) / exact).abs().max() < 5e-6


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.ferroelectric.gpu import numbers, sequence, sequence_back

how = dict(EVENT=True, DELAYED=False, TANGENTS=True, ONE_DOMAIN=False, **sequence.sizes_of(6))
back = dict(EVENT=True, CHARGE=True, SHAPE=1, LIMITS=True, KEEP=True, **sequence.sizes_of(6))
whole = ("width", "n", "steps", "domains")
kernels = [(numbers.bound(sequence.sequence_windows, FeLIFModel), how), (sequence_back.adjoint_windows, back)]
for kernel, constants in kernels:
    kinds = {name: "fp32" for name in ("accuracy", "slope", "limit_slope")} | {name: "i32" for name in whole}
    kinds |= {"until": "*i32"} | {name: "constexpr" for name in constants}
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(sequence.WARPS))
    print(len(made.asm["cubin"]))
"""


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """For compute capability 9.0, six domains: machine code comes out; no GPU is needed for that."""
    around = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-P", "-c", COMPILE], env=around, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-2000:]
    assert all(int(size) > 10_000 for size in said.stdout.split())
    assert len(said.stdout.split()) == 2


def test_without_triton_a_gpu_s_user_is_told(monkeypatch):
    membrane._say_without.cache_clear()
    monkeypatch.setattr(membrane, "HAVE_TRITON", False)
    values = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    with pytest.warns(UserWarning, match=r"Triton is not installed, .* pip install 'bruno-spice\[gpu\]'"):
        assert not membrane.has_triton(values)
    assert not membrane.has_triton(values)  # once
    assert not membrane.has_triton(torch.zeros(1))
