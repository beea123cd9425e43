"""The page of a measured fit says what the command found, and opens anywhere."""

import json
import re
from pathlib import Path

from browser import assert_readable, console_errors, open_page

CASES = Path(__file__).parents[1] / "cases"
LOOP = ("--time", "t", "--time-unit", "us", "--voltage", "v", "--voltage-unit", "V", "--charge", "q", "--charge-unit")


def cells(page, heading):
    section = page[page.index(f">{heading}</h2>") :].partition("</section>")[0]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]


def test_the_page_of_a_film_has_its_records_parameters_and_predictions(bruno, tmp_path, browser):
    loop = CASES / "fecap" / "loop.csv"
    known = ("uC/cm2", "--set", "tfe=10n", "--free", "ps,ea", "--predict", loop)
    where = ("--out", tmp_path / "film", "--report", tmp_path / "film.html")
    code, _, err = bruno("fit", "fecap", loop, *LOOP, *known, *where)
    assert code == 0, err
    page = (tmp_path / "film.html").read_text()
    found = json.loads((tmp_path / "film" / "fecap.json").read_text())
    rows = {row[0]: row for row in cells(page, "Records over the model") if row}
    for name, record in (("loop.csv", found["records"][0]), ("loop.csv (predicted)", found["predictions"][0])):
        assert rows[name][2] == f"{100 * record['rms_of_span']:.2f} %"
    fitted = {row[0]: row for row in cells(page, "Parameters") if row}
    matrix = found["covariance"]["matrix"]
    correlation = matrix[0][1] / (matrix[0][0] * matrix[1][1]) ** 0.5
    assert fitted["ps"][3] == f"ea ({correlation:+.2f})"
    assert page.count("data:image/png;base64,") == 2
    assert "http://" not in page
    assert "https://" not in page
    for width in (1600, 400):
        open_page(browser, tmp_path / "film.html", width)
        assert_readable(browser, width)
    assert console_errors(browser) == []


def test_the_page_of_cells_has_what_was_held_out_and_what_is_not_known(bruno, tmp_path):
    files = [CASES / "measured" / f"rram_{each}.csv" for each in ("set", "relaxation")]
    code, out, err = bruno(
        "fit", "rram", *files, "--out", tmp_path / "a.json", "--report", tmp_path / "a.html", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    page = (tmp_path / "a.html").read_text()
    held = [row for row in cells(page, "Devices that the card did not see") if row]
    assert len(held) == len(found["validation"]["times"])
    assert held[-1][5] == f"{100 * found['validation']['times'][-1]['misread']:.3g} %"
    assert [row[1] for row in cells(page, "Not known") if row] == found["unknown"]
