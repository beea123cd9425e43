"""Experiments on the netlists: a stimulus in, a waveform or a conductance out, one at a time or many at once.

Neuron: the deck's source ``Istim`` takes the stimulus as a piecewise linear waveform; ``v(vm)``, ``v(pn)``,
``v(spk)``, ``v(vdd)`` come back. A spike is the rising crossing of ``v(spk)`` through half the supply.
RRAM: the deck ``rram.cir`` sets the cell with a current limit, reads it, resets it by a voltage, reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import spice_netlists
from calibration.errors import NetlistError
from calibration.farm import Farm, Job, run_jobs
from calibration.netlist import Netlist
from devices.stimulus import Stimulus
from devices.waveform import Waveform

NETLISTS = Path(spice_netlists.__file__).parent
NEURON_NETLIST = NETLISTS / "testbenches" / "neuron.cir"
RRAM_NETLIST = NETLISTS / "testbenches" / "rram.cir"

NEURON_PINS = ("inj", "vm", "spk", "pl", "pn", "vdd")
NEURON_SOURCES = ("Istim", "Vsupply")
NEURON_VECTORS = ("v(vm)", "v(pn)", "v(spk)", "v(vdd)")
RISE_S = 1e-6

RRAM_VECTORS = ("v(ae)", "v(oe)", "i(vcell)")
READ_AFTER_SET_S, SET_END_S = 1.19e-6, 1.2e-6
READ_AFTER_RESET_S, RESET_END_S = 2.39e-6, 2.4e-6
RTH_VARIANTS = {"var": 1.0, "det": 0.0}


@dataclass(frozen=True)
class NeuronRun:
    """One neuron simulation: `stimulus` for `t_stop_s`, with the deck's parameters in `overrides` replaced."""

    stimulus: Stimulus
    t_stop_s: float
    overrides: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RRAMRun:
    """One RRAM simulation: SET at `i_prog_a` in a filament of `length_m` and `radius_m`, then RESET at `v_reset_v`.

    Without `v_reset_v` the conductance after SET counts. `variant` "var" scales the thermal resistance with
    1/radius^2, "det" does not.
    """

    i_prog_a: float
    length_m: float = 0.4e-9
    radius_m: float = 45e-9
    variant: str = "var"
    v_reset_v: float | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)


def simulate_neuron(
    stimulus: Stimulus,
    t_stop_s: float,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> Waveform:
    """SPICE's answer to `stimulus`: ``i_syn_a`` (A), ``v_mem_v`` (V), ``polarization`` (-1...1) and the spike times.

    Raises `NetlistError` for a deck with the wrong pins, nodes or parameters, `SimulationError` where ngspice failed.
    """
    return simulate_neurons([NeuronRun(stimulus, t_stop_s, overrides or {})], netlist, farm)[0]


def simulate_neurons(
    runs: Sequence[NeuronRun], netlist: Path | str = NEURON_NETLIST, farm: Farm | None = None
) -> list[Waveform]:
    """`simulate_neuron` for many runs, in parallel."""
    raw = run_jobs(neuron_jobs(runs, netlist), farm)
    return [neuron_waveform(waveform, run.stimulus) for waveform, run in zip(raw, runs, strict=True)]


def neuron_jobs(
    runs: Sequence[NeuronRun], netlist: Path | str = NEURON_NETLIST, vectors: Sequence[str] = NEURON_VECTORS
) -> list[Job]:
    """The jobs of `runs`, which bring back `vectors`."""
    deck = neuron_deck(netlist)
    return [
        Job.from_netlist(
            deck.with_params(run.overrides).with_source("Istim", *pwl(run.stimulus, run.t_stop_s)),
            vectors,
            run.t_stop_s,
            f"{deck.path.name} ({run.stimulus.name})",
        )
        for run in runs
    ]


def neuron_waveform(raw: Waveform, stimulus: Stimulus) -> Waveform:
    """The three neuron signals and the spikes in what a neuron job brought back."""
    time, current = pwl(stimulus, float(raw.time_s[-1]))
    signals = {
        "i_syn_a": np.interp(raw.time_s, time, current),
        "v_mem_v": raw["v(vm)"],
        "polarization": raw["v(pn)"],
    }
    return Waveform(raw.time_s, signals, spike_times(raw))


def spike_times(raw: Waveform, output: str = "v(spk)") -> NDArray[np.float64]:
    """Times (n,) in s at which the neuron's `output` rises through half the supply."""
    return Waveform(raw.time_s, {"spk": raw[output] - 0.5 * raw["v(vdd)"]}).crossings("spk", 0.0)


def pwl(stimulus: Stimulus, t_stop_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (n,) in s and A of the source: `stimulus` up to `t_stop_s`, but from 0 A at 0 s.

    A current that is already there at 0 s ramps up within 1 us, for otherwise ngspice's operating point would
    charge the membrane before time begins.
    """
    time, current = stimulus.time_s, stimulus.i_syn_a
    if stimulus.at(0.0) != 0.0:
        later = time > RISE_S
        time = np.concatenate([[0.0, RISE_S], time[later]])
        current = np.concatenate([[0.0, float(stimulus.at(RISE_S))], current[later]])
    elif time[0] > 0.0:
        time, current = np.concatenate([[0.0], time]), np.concatenate([[0.0], current])
    needed = int(np.searchsorted(time, t_stop_s)) + 1
    return time[:needed], current[:needed]


def neuron_deck(path: Path | str) -> Netlist:
    """The testbench at `path`, or one written around the neuron circuit at `path`.

    A circuit is a file without ``.tran`` that defines a subcircuit with the pins inj vm spk pl pn vdd; its
    parameters become deck-level parameters. What a file includes counts only where it defines no subcircuit itself.
    Raises `NetlistError` where pins, nodes or sources are missing.
    """
    netlist = Netlist.load(path)
    if netlist.has_card(".tran") or not netlist.subcircuits:
        for name in NEURON_SOURCES:
            netlist.element(name)
        missing = [pin for pin in ("vm", "spk", "pn", "vdd") if pin not in netlist.nodes]
        if missing:
            raise NetlistError(
                f"{path}: has no node {' and no node '.join(missing)} at deck level; "
                f"a neuron testbench needs {' '.join(NEURON_PINS)}"
            )
        netlist.t_stop_s()
        return netlist
    own = [circuit for circuit in netlist.subcircuits.values() if circuit.line.path == netlist.path]
    circuits = own or list(netlist.subcircuits.values())
    fitting = [circuit for circuit in circuits if circuit.pins == NEURON_PINS]
    if not fitting:
        found = ", ".join(f"subcircuit {c.name} has the pins {' '.join(c.pins)}" for c in circuits)
        raise NetlistError(f"{circuits[0].line.where}: {found}, but must have {' '.join(NEURON_PINS)}, in this order")
    circuit = fitting[-1]
    passed = " ".join(f"{name}={{{name}}}" for name in circuit.params)
    deck = [
        f"* testbench written around {circuit.name}",
        f".include {Path(path).resolve()}",
        ".param vdd=3.3 ; [V] supply",
        *(f".param {name}={text}" for name, text in circuit.params.items() if name != "vdd"),
        "Vsupply vdd 0 {vdd}",
        "Istim inj 0 PWL(0 0)",
        f"Xneuron {' '.join(NEURON_PINS)} {circuit.name} {passed}",
        ".ic v(vm)=0",
        ".options method=gear maxord=2 reltol=1e-4 trtol=1 abstol=1e-14 vntol=1e-6 chgtol=1e-16",
        ".tran 5u 122m 0 20u",
    ]
    return Netlist.from_text("\n".join(deck), Path(path))


def program_rram(
    i_prog_a: float, length_m: float = 0.4e-9, radius_m: float = 45e-9, variant: str = "var", farm: Farm | None = None
) -> float:
    """Conductance in S that a SET limited to `i_prog_a` leaves, read at +0.2 V."""
    return float(program_rrams([RRAMRun(i_prog_a, length_m, radius_m, variant)], farm=farm)[0])


def program_rrams(
    runs: Sequence[RRAMRun], netlist: Path | str = RRAM_NETLIST, farm: Farm | None = None
) -> NDArray[np.float64]:
    """Conductances (n,) in S of `runs` (n,), in parallel."""
    raw = run_jobs(rram_jobs(runs, netlist), farm)
    return np.array([rram_conductance(waveform, run) for waveform, run in zip(raw, runs, strict=True)])


def rram_jobs(runs: Sequence[RRAMRun], netlist: Path | str = RRAM_NETLIST) -> list[Job]:
    """The jobs of `runs`."""
    deck = Netlist.load(netlist)
    deck.element("Vcell")
    return [
        Job.from_netlist(
            deck.with_params(rram_overrides(run)),
            RRAM_VECTORS,
            SET_END_S if run.v_reset_v is None else RESET_END_S,
            f"{deck.path.name} ({run.i_prog_a * 1e6:.4g} uA)",
        )
        for run in runs
    ]


def rram_overrides(run: RRAMRun) -> dict[str, float]:
    """The deck parameters that stand for `run`. Raises `NetlistError` for an unknown variant."""
    if run.variant not in RTH_VARIANTS:
        raise NetlistError(f"unknown thermal-resistance variant '{run.variant}'; choose var or det")
    values = {
        "iprog": run.i_prog_a,
        "ldisc": run.length_m * 1e9,
        "rdisc": run.radius_m * 1e9,
        "rth_variant": RTH_VARIANTS[run.variant],
    }
    if run.v_reset_v is not None:
        values["vreset"] = run.v_reset_v
    return {**values, **run.overrides}


def rram_conductance(raw: Waveform, run: RRAMRun) -> float:
    """Conductance in S at the last read of an RRAM job."""
    return read_conductance(raw, READ_AFTER_SET_S if run.v_reset_v is None else READ_AFTER_RESET_S)


def read_conductance(raw: Waveform, time_s: float) -> float:
    """Conductance in S that the cell shows at `time_s`, during a read."""
    at = raw.resampled([time_s])
    return float(at["i(vcell)"][0] / (at["v(oe)"][0] - at["v(ae)"][0]))
