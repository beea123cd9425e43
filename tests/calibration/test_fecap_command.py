"""`bruno fit fecap` says and writes of each record what was said of it."""

import json

import numpy as np
import pytest

from bruno_spice.calibration.benches.fecap import FILM_NETLIST
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.fecap import films
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.fecap.film import charge_density

LIBRARY = {name: p.value for name, p in Netlist.load(FILM_NETLIST).params.items() if p.value is not None}
TIME = np.linspace(0, 1e-3, 121)
VOLTAGE = 3.0 * np.interp(TIME * 1e3, [0, 0.25, 0.75, 1], [0, 1, -1, 0])
QUICK = ("--free", "ps", "--set", "s0=-1")


@pytest.fixture
def write(tmp_path):
    """Writes a loop of the library's film as a table: charge in `unit`, of an electrode of `area` where that is C."""

    def written(name, area=1.0, unit="C/m2", above="", noise=1e-3, **film):
        charge = charge_density(TIME, VOLTAGE, LIBRARY | film)
        charge = area * (charge + np.random.default_rng(len(name)).normal(0, noise, TIME.size))
        rows = "".join(f"{t!r},{v!r},{q!r}\n" for t, v, q in np.stack([TIME, VOLTAGE, charge], axis=1).tolist())
        (tmp_path / name).write_text(f"{above}t [s],v [V],q [{unit}]\n{rows}")
        return tmp_path / name

    return written


@pytest.fixture
def fits(bruno, tmp_path):
    """Runs the command: what it says, ``fecap.json`` and ``fecap.param``."""

    def run(*words, code=0):
        got, out, err = bruno("fit", "fecap", *words, "--out", tmp_path / "out")
        assert got == code, err
        folder = tmp_path / "out"
        return (
            " ".join((out + err).split()),
            json.loads((folder / "fecap.json").read_text()),
            (folder / "fecap.param").read_text(),
        )

    return run


def test_a_record_s_own_area_makes_its_density(write, fits):
    files = write("a.csv", 1e-8, "C"), write("b.csv", 4e-8, "C")
    _, found, _ = fits(*files, "--area", "1e-8", "--set", "2:area=4e-8", *QUICK)
    assert [each["rms"] for each in found["records"]] == pytest.approx([1e-3, 1e-3], rel=0.3)
    assert found["parameters"]["ps"]["value"] == pytest.approx(LIBRARY["ps"], rel=0.02)
    _, one, _ = fits(files[1], "--area", "1e-8", "--set", "area=4e-8", *QUICK)
    assert one["parameters"]["ps"]["value"] == pytest.approx(LIBRARY["ps"], rel=0.02)


def test_what_a_record_has_of_its_own_is_what_the_files_hold(write, fits):
    warm = write("warm.csv", above="# temperature [K]: 400\n", imprint=0.3, tempk=400.0)
    own = ("--free", "ps,imprint", "--own", "imprint", "--set", "s0=-1")
    _, found, param = fits(warm, *own)
    fitted = found["parameters"]["imprint"]["value"]
    assert fitted == pytest.approx(0.3, abs=0.02)
    assert f".param imprint={fitted:.9g} " in param
    assert found["parameters"]["tempk"]["value"] == 400.0
    _, found, param = fits(warm, write("cold.csv", imprint=-0.2), *own)
    assert ".param imprint" not in param
    assert "* imprint: each record has its own" in param
    assert found["parameters"]["imprint_1"]["value"] == pytest.approx(0.3, abs=0.02)
    assert "imprint" not in found["parameters"]


def test_what_is_set_of_the_film_overrides_a_predicted_record_s_file(write, fits):
    loop, warm = write("loop.csv", tempk=320.0), write("warm.csv", above="# temperature [K]: 400\n", tempk=320.0)
    _, found, _ = fits(loop, *QUICK, "--set", "tempk=320", "--predict", warm)
    assert found["predictions"][0]["rms"] == pytest.approx(1e-3, rel=0.3)


def test_a_fit_is_written_before_what_is_predicted_by_it_fails(write, fits, monkeypatch):
    def fails(*_):
        raise SimulationError("ngspice ended")

    monkeypatch.setattr(films, "predict", fails)
    loop = write("loop.csv")
    said, found, _ = fits(loop, *QUICK, "--predict", loop, code=1)
    assert "the fit, without its predictions" in said
    assert found["predictions"] == []


def test_too_few_samples_behind_turning_points_are_told_before_the_fit(bruno, write, tmp_path):
    loop = write("loop.csv")
    words = ("--free", "ps,rs", "--own", "rs", "--own-at-turns", "--set", "area=1e-10", "--predict", loop)
    code, _, err = bruno("fit", "fecap", loop, *words, "--region", "0:0.24m", "--out", tmp_path / "out")
    assert (code, "samples behind its turning points are too few" in " ".join(err.split())) == (2, True), err
    assert not (tmp_path / "out").exists()


def test_a_term_that_free_names_stays_and_is_said_to(write, fits):
    said, found, _ = fits(write("loop.csv"), "--free", "ps", "--set", "s0=-1", "--terms", "drift")
    assert found["drift"]
    assert "it is left out" not in said
    assert "kept, as --free asks" in said
