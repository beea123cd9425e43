import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bruno_spice.devices.errors import StimulusError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform, match_spikes, rms_difference

increasing = st.lists(st.floats(1e-6, 1e-2), min_size=1, max_size=20).map(np.cumsum)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_s,i_syn_a\n0,0\n1e-3,nan\n", "line 3: 'nan' in column 'i_syn_a' is not a finite number"),
        ("time_s,i_syn_a\n0,0\n1e-3,\n", "line 3: '' in column 'i_syn_a' is not a finite number"),
        ("time_s,i_syn_a\n0,0\n2e-3,1e-9\n1e-3,0\n", "data row 3 .* does not come after"),
        ("time_s,i_syn_a\n-1,0\n", "must not be negative"),
        ("t,i\n0,0\n", "has no column 'time_s', only t, i"),
        ("time_s,i_syn_a\n", "no rows below its header"),
        ("", "no line names the columns 'time_s', 'i_syn_a'"),
        ("time_s,i_syn_a\n0,abc\n", "line 2: 'abc' in column 'i_syn_a' is not a finite number"),
        ("time_s;i_syn_a\n0;0\n", "between semicolons; write a plain CSV"),
        ("# mine\ntime_s,i_syn_a\n0,0\n", "1 line above the header left out"),
        ("time_s,i_syn_a\n0,1e-9\n1e-3,308\n", "i_syn_a goes beyond 1 A"),
        ("time_s,i_syn_a\n0,0\n1e30,1e-9\n", "time_s goes beyond 1e\\+06 s"),
        ("time_s,i_syn_a\n" + "," * 100_000, "100,000 characters, no row of a table"),
        ("time_s,i_syn_a\n0," + "9" * 5000 + "\n", "beyond what a number can hold"),
    ],
)
def test_a_bad_stimulus_file_is_refused_with_file_and_row(tmp_path, text, said):
    path = tmp_path / "stim.csv"
    path.write_text(text)
    with pytest.raises(StimulusError, match=said) as error:
        Stimulus.from_csv(path)
    assert "stim.csv" in str(error.value)


@given(increasing, st.data())
def test_a_stimulus_survives_csv(tmp_path_factory, time, data):
    current = data.draw(arrays(float, time.size, elements=st.floats(-1e-8, 1e-8)))
    path = tmp_path_factory.mktemp("stimulus") / "stim.csv"
    path.write_text(Stimulus(time, current).to_csv_text())
    read = Stimulus.from_csv(path)
    np.testing.assert_allclose(read.time_s, time, rtol=1e-11)
    np.testing.assert_allclose(read.i_syn_a, current, rtol=1e-8, atol=1e-300)


def test_steps_hold_each_level_and_start_from_zero():
    stimulus = Stimulus.steps([1e-9, -2e-9], step_s=1e-3, rise_s=1e-6)
    np.testing.assert_allclose(stimulus.at([0.0, 0.5e-3, 1.5e-3, 9.0]), [0.0, 1e-9, -2e-9, -2e-9])


def trace():
    time = np.linspace(0, 1e-2, 1001)
    return Waveform(
        time, {"v_mem_v": np.sin(400 * np.pi * time), "polarization": time * 50}, np.array([2.5e-3, 7.5e-3])
    )


def test_a_trace_survives_csv_with_its_spike_times(tmp_path):
    trace().to_csv(tmp_path / "trace.csv")
    header = (tmp_path / "trace.csv").read_text().splitlines()[0]
    assert header == "time_s,v_mem_v,polarization,spike"
    assert (tmp_path / "trace.spikes.csv").read_text().splitlines()[0] == "time_s"
    read = Waveform.from_csv(tmp_path / "trace.csv")
    np.testing.assert_allclose(read.spike_times_s, [2.5e-3, 7.5e-3])
    assert rms_difference(trace(), read, "v_mem_v", trace().time_s) < 1e-8


def test_the_spike_column_marks_the_sample_at_or_after_each_spike(tmp_path):
    wave = Waveform(np.arange(5.0), {"v_mem_v": np.zeros(5)}, np.array([1.5, 3.0]))
    wave.to_csv(tmp_path / "trace.csv")
    marks = [int(line.split(",")[-1]) for line in (tmp_path / "trace.csv").read_text().splitlines()[1:]]
    assert marks == [0, 0, 1, 1, 0]


def test_crossings_are_interpolated_and_directed():
    np.testing.assert_allclose(trace().crossings("v_mem_v", 0.5)[0], 1 / 2400, rtol=1e-3)
    np.testing.assert_allclose(trace().crossings("v_mem_v", 0.5, rising=False)[0], 5 / 2400, rtol=1e-3)


@given(increasing, st.floats(1e-5, 1e-3))
def test_spikes_shifted_within_the_window_match_one_to_one(spikes, shift):
    assert len(match_spikes(spikes, spikes + 0.9 * shift, window_s=shift)) >= np.sum(np.diff(spikes) > 2 * shift) + 1
    assert match_spikes(spikes, spikes) == [(i, i) for i in range(spikes.size)]
    assert match_spikes(spikes, []) == []


def test_each_spike_is_used_once():
    assert match_spikes([1.0], [0.9995, 1.0005], window_s=1e-3) == [(0, 0)]


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "card.json", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["card.json"]
