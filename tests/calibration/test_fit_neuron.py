"""A neuron's card from traces in files: the same as from the traces themselves, and the truth where there is noise."""

from dataclasses import replace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.recording import measure_spikes
from bruno_spice.calibration.circuits.stimuli import constant, inhibition, network_like
from bruno_spice.calibration.measured.choice import Choice
from bruno_spice.calibration.neuron.calibrate import start_parameters
from bruno_spice.calibration.neuron.fit import fit_in_stages, free_parameters
from bruno_spice.calibration.traces.current import drive
from bruno_spice.calibration.traces.fit import fit_traces, known_parameters
from bruno_spice.calibration.traces.reading import Columns, read_trace
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus

CURRENTS_A = (160e-12, 1e-9, 5e-9, 30e-9)


@pytest.fixture(scope="module")
def neuron(one_domain):
    """What the traces are of; a film that a spike writes back, as one without a column of its polarization must be."""
    return replace(FeLIFParameters.from_card(one_domain), polarization_reset=-1.0)


def samples(neuron, run, count=6000):
    """Time in s, membrane in V, current in A and P/Ps, (4, n); the membrane at the threshold where it spikes."""
    stimulus, end_s = run
    wave = simulate(neuron, stimulus, end_s, dt_s=end_s / count, rtol=1e-9)
    at = np.searchsorted(wave.time_s, wave.spike_times_s)
    time_s = np.insert(wave.time_s, at, wave.spike_times_s)
    v = np.insert(wave["v_mem_v"], at, neuron.v_threshold)
    p = np.insert(wave["polarization"], at, wave["polarization"][at - 1])
    return np.array([time_s, v, stimulus.at(time_s), p])


def table(path, columns, head="t [ms],vm [V],i [nA],p"):
    scale = np.array([1e3, 1.0, 1e9, 1.0])[: len(columns)]
    np.savetxt(path, (columns.T * scale), "%.12g", ",", header=head, comments="")
    return path


def raw(path, columns):
    """As LTspice writes it, in double precision."""
    names = ("time\ttime", "V(vm)\tvoltage", "I(I1)\tdevice_current", "V(p)\tvoltage")
    listed = "".join(f"\t{n}\t{name}\n" for n, name in enumerate(names))
    head = (
        "Title: x\nPlotname: Transient Analysis\nFlags: real forward double\nNo. Variables: 4\n"
        f"No. Points: {columns.shape[1]}\nCommand: LTspice\nVariables:\n{listed}Binary:\n"
    )
    path.write_bytes(head.encode("utf-16-le") + columns.T.astype("<f8").tobytes())
    return path


def psf(path, columns):
    types = "".join(f'"{unit}" FLOAT DOUBLE PROP(\n"units" "{unit}"\n)\n' for unit in ("s", "V", "A", ""))
    names = (("time", "s"), ("vm", "V"), ("I1:p", "A"), ("p", ""))
    traces = "".join(f'"{name}" "{unit}"\n' for name, unit in names[1:])
    values = "".join(
        f'"{name}" {value!r}\n' for row in columns.T.tolist() for (name, _), value in zip(names, row, strict=True)
    )
    head = f'HEADER\n"PSFversion" "1.00"\n"PSF sweep points" {columns.shape[1]}\nTYPE\n{types}SWEEP\n"time" "s"\n'
    path.write_text(f"{head}TRACE\n{traces}VALUE\n{values}END\n")
    return path


def test_a_trace_is_the_same_from_every_format_and_gives_the_card_of_the_traces_themselves(tmp_path, neuron):
    read = []
    for n, current_a in enumerate((160e-12, 3e-9, 30e-9)):
        columns = samples(neuron, constant(current_a))
        same = [
            read_trace(Choice(table(tmp_path / f"{n}.csv", columns)), Columns(polarization="p")),
            read_trace(Choice(raw(tmp_path / f"{n}.raw", columns)), Columns(voltage="V(vm)", polarization="V(p)")),
            read_trace(Choice(psf(tmp_path / f"{n}.tran", columns)), Columns(polarization="p")),
        ]
        for each in same:
            wave = each.recording.spice
            assert each.recording.steady
            assert each.recording.stimulus.i_syn_a[-1] == pytest.approx(current_a, rel=1e-9)
            np.testing.assert_allclose(wave.spike_times_s, simulate_spikes(neuron, current_a), rtol=1e-9)
            np.testing.assert_allclose(wave["v_mem_v"], columns[1], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(wave["polarization"], columns[3], rtol=1e-9, atol=1e-12)
        read.append(same[n])
    known = {name: getattr(neuron, name) for name in ("area", "thickness_hzo", "c_parallel")}
    found = fit_traces(read, given=known)
    recordings = [each.recording for each in read]
    start = start_parameters(measure_spikes(recordings), known | {"v_floor": 0.0})
    direct, _, _ = fit_in_stages(recordings, start)
    assert not found.card.doubt
    assert {name: found.card[name] for name in direct.values} == direct.values
    for f in free_parameters(neuron):
        assert found.card[f.name] == pytest.approx(f.start, rel=1e-2), f.name


def test_a_time_of_the_film_that_is_known_goes_into_the_fit(tmp_path, neuron):
    """Two decades off, it comes with another alpha and activation field, and with the same spikes."""
    read = [
        read_trace(
            Choice(table(tmp_path / f"{n}.csv", samples(neuron, constant(current_a), 2000))), Columns(polarization="p")
        )
        for n, current_a in enumerate((160e-12, 30e-9, 2e-9))
    ]
    known = {name: getattr(neuron, name) for name in ("area", "thickness_hzo", "c_parallel")}
    found = fit_traces(read[:2], read[2:], given=known | {"tau_0": 0.01 * neuron.tau_0})
    assert found.card.parameters["tau_0"].source == "given"
    assert found.card["tau_0"] == pytest.approx(0.01 * neuron.tau_0)
    assert not any("tau_0" in each for each in found.said)
    assert found.card["activation_field_1"] > 1.2 * neuron.activation_field[0]
    (held,) = found.held_out_comparisons
    assert held.first_spike_error == pytest.approx(0.0, abs=5e-3)


def simulate_spikes(neuron, current_a):
    stimulus, end_s = constant(current_a)
    return simulate(neuron, stimulus, end_s, rtol=1e-9).spike_times_s


def test_without_polarization_the_truth_lies_within_three_errors_of_noisy_traces(tmp_path, neuron):
    """One per cent of noise on voltage and current, 4,000 equally spaced samples, a lead-in without current."""
    rng = np.random.default_rng(3)
    traces = []
    for n, current_a in enumerate(CURRENTS_A):
        stimulus, end_s = constant(current_a)
        wave = simulate(neuron, stimulus, end_s, dt_s=end_s / 4000, rtol=1e-9)
        lead = 200
        time_s = np.arange(wave.time_s.size + lead) * (end_s / 4000)
        v, i = (np.concatenate([np.zeros(lead), wave[name]]) for name in ("v_mem_v", "i_syn_a"))
        v, i = v + 25e-3 * rng.standard_normal(v.size), i + 0.01 * current_a * rng.standard_normal(v.size)
        head = "t [ms],vm [V],i [nA]"
        traces.append(read_trace(Choice(table(tmp_path / f"{n}.csv", np.array([time_s, v, i]), head)), Columns()))
        assert traces[-1].recording.steady
        assert traces[-1].recording.stimulus.i_syn_a[-1] == pytest.approx(current_a, rel=2e-3)
    found = fit_traces(traces, given={"c_parallel": neuron.c_parallel})
    card = found.card
    assert not card.doubt
    assert card.unknown == found.said[-len(card.unknown) :]
    assert "'tau_0' = 1 µs is a convention; the traces tell the film's switching time, " in card.unknown[0]
    assert "without a polarization 'eps_hzo' and 'saturation_polarization' share the charge" in card.unknown[1]
    assert "no trace tells it" in card.parameters["tau_0"].source
    assert card["v_threshold"] == pytest.approx(neuron.v_threshold, abs=30e-3)
    assert card["t_refractory"] == pytest.approx(neuron.t_refractory, abs=30e-6)
    for f in free_parameters(neuron):
        error = max(card.parameters[f.name].stderr, card.parameters[f.name].stderr_curvature)
        assert abs(card[f.name] - f.start) < 3 * error, (f.name, card[f.name], f.start, error)


def test_what_falls_by_inhibition_or_leak_is_no_spike(tmp_path, neuron):
    rng = np.random.default_rng(1)
    steady = simulate(neuron, Stimulus.dc(3e-9), 10e-3)
    high_s = steady.crossings("v_mem_v", 2.3)[-1]  # on the second way up, short of the threshold
    corners_s = np.array([0.0, 10e-6, high_s, high_s + 1e-6, high_s + 3e-3, high_s + 3.001e-3])
    pulled = Stimulus(corners_s, 1e-9 * np.array([0.0, 3.0, 3.0, -4.0, -4.0, 3.0]), name="pulled down")
    for run in (inhibition(), network_like(4, 30), (pulled, 20e-3)):
        columns = samples(neuron, run, 8000)
        expected = simulate(neuron, *run, rtol=1e-9).spike_times_s
        columns[1] += 5e-3 * rng.standard_normal(columns.shape[1])
        spikes = read_trace(Choice(table(tmp_path / "a.csv", columns)), Columns()).recording.spice.spike_times_s
        assert spikes.size == expected.size
        np.testing.assert_allclose(spikes, expected, atol=2 * run[1] / 8000)


def test_a_fall_that_a_simulator_resolves_begins_at_its_top(tmp_path):
    """A hundred samples within the fall, as adaptive steps put them there: none of them is the spike."""
    time_s = np.concatenate([np.linspace(0.0, 1e-3, 500), 1e-3 + np.linspace(1e-9, 4e-7, 100), [1.2e-3]])
    v = np.interp(time_s, [0.0, 1e-3, 1.0004e-3, 1.2e-3], [0.0, 2.5, 0.0, 0.0])
    read = read_trace(Choice(table(tmp_path / "a.csv", np.array([time_s, v]), "t [ms],vm [V]")), Columns(), "3n")
    assert read.recording.spice.spike_times_s == pytest.approx([1e-3], abs=2e-9)


def test_a_noisy_current_becomes_the_corners_of_its_source():
    rng = np.random.default_rng(2)
    levels_a = rng.uniform(-5e-9, 30e-9, 20)
    stimulus = Stimulus.steps(levels_a, rise_s=10e-6)
    time_s = np.arange(20_000) * 1e-6
    found = drive(time_s, stimulus.at(time_s) + 50e-12 * rng.standard_normal(time_s.size), "x").stimulus
    assert found.time_s.size <= 2 * levels_a.size + 4
    np.testing.assert_allclose(found.at((np.arange(20) + 0.5) * 1e-3), levels_a, atol=15e-12)


@pytest.mark.parametrize(
    ("head", "current", "columns", "said"),
    [
        ("t [ms],vm [V],out [V],i [nA]", None, Columns(), "2 columns could be the voltage: vm, out; choose one with"),
        ("t [ms],vm [V],x,y", None, Columns(), r"none is known to be the current .* \(--current 308p\)"),
        ("t [ms],vm,i [nA]", None, Columns(), "no column is known to be the voltage; .* --unit COLUMN=UNIT"),
        ("t [ms],vm [V],i [nA]", None, Columns(current="j"), "the record has no column 'j', only t, vm, i"),
        ("t [ms],vm [V],i [nA],p [V]", None, Columns(voltage="vm", polarization="p"), "P/Ps lies within -1 to 1"),
    ],
)
def test_what_is_not_said_is_asked_for(tmp_path, neuron, head, current, columns, said):
    values = samples(neuron, constant(5e-9), 400)
    values = np.array([values[0], values[1], values[2], values[1]])[: head.count(",") + 1]
    with pytest.raises(InputError, match=said):
        read_trace(Choice(table(tmp_path / "a.csv", values, head)), columns, current)


def test_a_constant_and_a_second_file_give_the_current(tmp_path, neuron):
    columns = samples(neuron, constant(5e-9), 3000)
    head = "t [ms],vm [V]"
    bare = Choice(table(tmp_path / "a.csv", columns[:2], head))
    np.savetxt(
        tmp_path / "i.csv", columns[[0, 2]].T * [1.0, 1e12], "%.9g", ",", header="s [s],source [pA]", comments=""
    )
    beside = read_trace(bare, Columns(), str(tmp_path / "i.csv")).recording
    assert (beside.stimulus.i_syn_a[-1], beside.steady) == (pytest.approx(5e-9, rel=1e-6), True)
    assert read_trace(bare, Columns(), "5n").recording.stimulus.i_syn_a.tolist() == [5e-9, 5e-9]
    assert known_parameters({"area": 3e-11}, neuron.model)["area"].source == "given"
    with pytest.raises(InputError, match=r"rises while its current takes charge away; .* --invert-current"):
        read_trace(bare, Columns(), "-5n")
    assert read_trace(bare, Columns(inverted=True), "-5n").recording.stimulus.i_syn_a.tolist() == [5e-9, 5e-9]
    with pytest.raises(InputError, match="1 constant current among the fitted traces"):
        fit_traces([read_trace(bare, Columns(), "5n")])
    with pytest.raises(InputError, match="--set alpha: what can be said of a measured neuron is area"):
        known_parameters({"alpha": 2.0}, neuron.model)


def test_a_record_that_begins_under_way_is_refused(tmp_path, neuron):
    columns = samples(neuron, constant(5e-9), 3000)[:, 300:]
    with pytest.raises(InputError, match=r"begins with the membrane at .* nobody knows what the film holds"):
        read_trace(Choice(table(tmp_path / "a.csv", columns[:3], "t [ms],vm [V],i [nA]")), Columns())
