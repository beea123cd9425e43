import numpy as np
import pytest

from bruno_spice.calibration.benches.figures import FIGURES
from bruno_spice.calibration.benches.film_study import group_convergence
from bruno_spice.calibration.presentation.style import new_figure
from bruno_spice.devices.errors import InputError


@pytest.fixture(scope="module")
def study(ngspice):
    return group_convergence((8, 24), farm=ngspice)


def test_the_library_s_groups_stand_for_the_film(study):
    few, library = study.numbers.iloc[0], study.numbers.iloc[1]
    voltages = ["v_rms_308p_v", "v_rms_3000p_v", "v_rms_30000p_v"]
    assert np.all(library[voltages] < 12e-3)
    assert np.all(library[voltages] < 0.5 * few[voltages])
    assert library["v_rms_308p_ngspice_v"] == pytest.approx(library["v_rms_308p_v"], abs=1e-3)
    assert library["first_spike_error"] < 1e-3
    films = ["loop_rms_ps", "minor_rms_ps", "pund_rms_ps", "kinetics_rms_ps"]
    assert np.all(library[films] < 0.02)
    assert np.all(library[films] < 0.6 * few[films])


def test_a_film_without_imprint_shows_none(study):
    assert np.all(np.abs(study.numbers["minor_imprint_v"]) < 1e-3)


def test_the_study_is_drawn_and_varies_the_groups_itself(study):
    figure = new_figure()
    labels = [text.get_text() for text in FIGURES["groups"](figure.axes[0], study).get_legend().get_texts()]
    assert "membrane, 308 pA, ngspice" in labels
    with pytest.raises(InputError, match="varies the number of groups"):
        group_convergence((8,), overrides={"groups": 12})
