"""A small layer as one deck: read lines, RRAM resistors, column mirrors with limits, and neurons.

    i_syn_n = min(max(sum_arrays gain sum_m V_m (G+_nm - G-_nm) + i_bias_n, i_min), i_max)

Rows m carry voltages that step once a millisecond, `circuits/crossbar.lib` makes the currents, and each neuron is a
copy of the one in the testbench. A row is a subcircuit with its 2 N resistors, which simulators of compiled models
take as one device. A row at 0 V throughout carries no current into the grounded columns and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.deck import NEURON_PINS, neuron_deck
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    job_parameter,
    kept_where_refused,
    tightened,
)
from bruno_spice.calibration.circuits.recording import refuse_double_spikes, refuse_early_spikes
from bruno_spice.calibration.circuits.spike_output import spike_times
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.farm import Farm, Job, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]
LIBRARY = NETLISTS / "circuits" / "crossbar.lib"
STEP_S = 1e-3


@dataclass(frozen=True, eq=False)
class CrossbarArray:
    """One array: `rows_v` (T, M) in V, one value a millisecond, and conductances `plus_s` and `minus_s` (N, M) in S."""

    name: str
    """Prefix of its nodes; letters only."""
    rows_v: Array
    plus_s: Array
    minus_s: Array
    gain: float
    """Of the mirrors, synaptic current over column current."""


@dataclass(frozen=True, eq=False)
class CrossbarRun:
    """N neurons behind `arrays` for T milliseconds."""

    arrays: Sequence[CrossbarArray]
    bias_a: Array
    """(N,)."""
    limits_a: tuple[float, float] = (-1.0, 1.0)
    overrides: Mapping[str, float] = field(default_factory=dict)
    """Of the deck's parameters."""

    @property
    def t_stop_s(self) -> float:
        """End of the run in s."""
        return len(self.arrays[0].rows_v) * STEP_S


def crossbar_deck(run: CrossbarRun, netlist: Path | str = NEURON_NETLIST) -> Netlist:
    """The deck of `run` around the neuron of the testbench `netlist`. Raises `NetlistError` where it has none."""
    deck = tightened(neuron_deck(netlist)).with_params(run.overrides)
    instance = _instance(deck)
    lines = _row_lines(len(run.bias_a))
    for array in run.arrays:
        lines += _array_lines(array)
    for n, bias_a in enumerate(run.bias_a, 1):
        pins = " ".join(pin if pin == "vdd" else f"{pin}{n}" for pin in NEURON_PINS)
        low, high = run.limits_a
        lines += [
            f"Xoutput{n} sum{n} x{n} synapse_output ibias={bias_a:.12g} imin={low:.12g} imax={high:.12g}",
            f"Vsyn{n} inj{n} x{n} 0",
            f"Xneuron{n} {pins} {' '.join(instance.split()[1 + len(NEURON_PINS) :])}",
            f".ic v(vm{n})=0",
        ]
    replaced = [deck.element("Istim"), deck.element(instance.split()[0])]
    started = [statement for statement in deck.statements if statement.card == ".ic" and not statement.scope]
    body = deck.without([*replaced, *started])
    mirrors = Netlist.load(LIBRARY).lines[1:]
    return replace(body, lines=(*body.lines, *mirrors)).with_lines(lines)


def crossbar_job(run: CrossbarRun, netlist: Path | str = NEURON_NETLIST) -> Job:
    """The job of `run`; it brings back v(vm1), v(pn1), v(spk1) and i(vsyn1) of each neuron, and v(vdd)."""
    vectors = [name.format(n) for n in range(1, len(run.bias_a) + 1)
               for name in ("v(vm{})", "v(pn{})", "v(spk{})", "i(vsyn{})")]  # fmt: skip
    deck = crossbar_deck(run, netlist)
    return transient_job(deck, [*vectors, "v(vdd)"], run.t_stop_s, f"crossbar of {len(run.bias_a)} neurons")


def simulate_crossbar(
    run: CrossbarRun, netlist: Path | str = NEURON_NETLIST, farm: Farm | None = None
) -> list[Waveform]:
    """A waveform for each neuron, as `simulate_neuron` gives; ``i_syn_a`` is the current that the mirrors gave it."""
    job, farm = crossbar_job(run, netlist), farm or Farm()
    return crossbar_waveforms(run, job, run_jobs([job], farm)[0], farm)


def crossbar_waveforms(run: CrossbarRun, job: Job, raw: Waveform, farm: Farm) -> list[Waveform]:
    """Each neuron's waveform in what the `job` of `run` brought back from `farm`.

    Raises `DoubtfulSpikesError` for a spike that is early or comes twice.
    """
    waves = []
    for n in range(1, len(run.bias_a) + 1):
        signals = {
            "i_syn_a": raw[f"i(vsyn{n})"],
            "v_mem_v": raw[f"v(vm{n})"],
            "polarization": raw[f"v(pn{n})"],
        }
        waves.append(Waveform(raw.time_s, signals, spike_times(raw, f"v(spk{n})")))
        label = f"{job.label}, neuron {n}"
        with kept_where_refused(job, farm):
            refuse_early_spikes(waves[-1], job_parameter(job, "vth"), label)
            refuse_double_spikes(waves[-1], job_parameter(job, "tref"), label)
    return waves


def _columns(count: int) -> list[str]:
    """The column lines of `count` neurons, a plus and a minus line each."""
    return [f"{side}{n}" for n in range(1, count + 1) for side in "pm"]


def _row_lines(count: int) -> list[str]:
    """The subcircuit of a row that crosses the columns of `count` neurons."""
    columns = _columns(count)
    return [
        f".subckt crossbar_row row {' '.join(columns)} {' '.join(f'r{column}=1' for column in columns)}",
        *(f"R{column} row {column} {{r{column}}}" for column in columns),
        ".ends crossbar_row",
    ]


def _array_lines(array: CrossbarArray) -> list[str]:
    lines = []
    columns = _columns(len(array.plus_s))
    for m in np.flatnonzero(np.any(array.rows_v != 0.0, axis=0)):
        drive = Stimulus.steps(array.rows_v[:, m])
        points = " ".join(f"{t:.12g} {v:.9g}" for t, v in zip(*_corners(drive), strict=True))
        row = f"{array.name}{m + 1}"
        lines.append(f"V{row} {row} 0 PWL({points})")
        crossings_s = np.column_stack((array.plus_s[:, m], array.minus_s[:, m])).ravel()
        resistors = " ".join(f"r{column}={1 / g_s:.12g}" for column, g_s in zip(columns, crossings_s, strict=True))
        pins = " ".join(f"{array.name}{column}" for column in columns)
        lines.append(f"Xrow_{row} {row} {pins} crossbar_row {resistors}")
    for n in range(1, len(array.plus_s) + 1):
        pins = f"{array.name}p{n} {array.name}m{n} sum{n}"
        lines.append(f"X{array.name}{n} {pins} column_pair gain={array.gain:.12g}")
    return lines


def _corners(drive: Stimulus) -> tuple[Array, Array]:
    """Points of `drive` without those on a straight line between their neighbours."""
    value = drive.i_syn_a
    keep = np.ones(value.size, dtype=bool)
    keep[1:-1] = (value[1:-1] != value[:-2]) | (value[1:-1] != value[2:])
    return drive.time_s[keep], value[keep]


def _instance(deck: Netlist) -> str:
    """The statement that places the neuron: a subcircuit with the neuron's pins, in their order."""
    for line in deck.top_level():
        words = line.lower().split()
        if words[0].startswith("x") and tuple(words[1 : 1 + len(NEURON_PINS)]) == NEURON_PINS:
            return line
    raise NetlistError(
        f"{deck.path}: no subcircuit is placed at the nodes {' '.join(NEURON_PINS)}, so no other neuron can be added"
    )
