"""The report of a run, made from a short run on a task that makes its own data."""

import json
import shutil

import pytest
from browser import assert_readable, broken_images, console_errors, open_page
from selenium.webdriver.common.by import By

from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.training.networks.config_file import default_config
from bruno_spice.training.reports.run import write_run_report
from bruno_spice.training.runs.folder import RunFolder, sealed
from bruno_spice.training.runs.trainer import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "short"
    config = default_config("training/tasks/own_example.py:load").with_values(
        network__neuron="lif", network__hidden=[8], training__epochs=2, synapse__kind="float"
    )
    train(config, folder)
    return folder


def test_the_page_holds_scores_pictures_and_configuration_and_needs_no_network(run):
    page = write_run_report(run).read_text()
    assert page.count("data:image/png;base64,") >= 2
    for text in ("accuracy", "floor on test", "wall time", "learning_rate", "felif card"):
        assert text in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_reads_well_in_a_browser(run, browser):
    page = write_run_report(run)
    for width in (1280, 400):
        open_page(browser, page, width)
        assert len(browser.find_elements(By.TAG_NAME, "img")) >= 2
        assert broken_images(browser) == []
        assert_readable(browser, width)
        widths = browser.execute_script("return [...document.images].map(i => [i.clientWidth, i.naturalWidth])")
        assert all(shown >= 0.5 * natural for shown, natural in widths)  # 13 point at 130 dpi stays above 11 px
    assert console_errors(browser) == []


def test_a_folder_without_a_finished_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="no run here"):
        write_run_report(tmp_path)
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(InputError, match="has not ended"):
        write_run_report(tmp_path)


@pytest.mark.parametrize("content", ['{"task": ', "[1]", "\xff"])
@pytest.mark.parametrize(("name", "command"), [("result", "train --out .* --resume"), ("validation", "validate")])
def test_a_damaged_file_is_named_with_what_renews_it(run, tmp_path, name, command, content):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    (broken / f"{name}.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=rf"{name}\.json: damaged, not a JSON object; `bruno {command}.*` writes it"):
        write_run_report(broken)


def test_an_analysis_of_other_weights_is_said_to_be_one(run, tmp_path):
    """After the run has gone on, what was scored over time and the codesign table are of an earlier network."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    weights = RunFolder(folder).weights_sha256()
    row = {"age_s": 0.0, "own": {"accuracy": 0.5}, "extrapolated": False}
    found = {"chips": 0, "metric": "accuracy", "measured_until_s": None, "said": "", "ages": [row], "levels": []}
    for name in ("retention", "codesign"):
        shutil.copy(next((folder / "figures").glob("*.png")), folder / "figures" / f"{name}.png")
    pictures = {}
    for of in (weights, "another"):
        (folder / "retention.json").write_text(json.dumps(sealed(found | {"weights_sha256": of})))
        (folder / "codesign.json").write_text(json.dumps(sealed({"weights_sha256": [of]})))
        page = write_run_report(folder).read_text()
        pictures[of] = page.count("data:image/png;base64,")
        assert ("What was scored over time is of an earlier training" in page) == (of == "another")
        assert ("Test score against the time since writing" in page) == (of == weights)
    assert pictures[weights] == pictures["another"] + 2


def test_a_missing_card_of_a_run_is_named(run, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    (broken / "cards" / "felif.json").unlink()
    with pytest.raises(CardError, match=r"cards/felif\.json: the run's own card is missing; put it back"):
        write_run_report(broken)
