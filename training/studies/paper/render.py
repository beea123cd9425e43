"""docs/paper.md, docs/where.md and their figures, from the plan's result files; one that lacks reads "not run".

The texts stand in templates, which hold no result: they ask `Values` for each by experiment and path.
"""

import hashlib
import inspect
import json
from pathlib import Path

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from bruno_spice.calibration.presentation import style
from bruno_spice.devices.files import write_atomic
from bruno_spice.training.studies.paper.paired import BITS_COST, COMPARISONS
from bruno_spice.training.studies.paper.plan import PaperPlan
from bruno_spice.training.studies.paper.values import Values

DOCUMENT = "paper.md"
DOCUMENTS = (DOCUMENT, "where.md")
STAMP = "Description"
"""PNG text that holds the SHA-256 of a figure's numbers and of the modules that draw figures."""


def number(value: float | None, form: str) -> str:
    """`value` in the format `form`; a dash where there is none."""
    return "–" if value is None else format(value, form)


def figures(plan: PaperPlan, folder: Path) -> dict[str, tuple[Figure, str]]:
    """Every figure for which there are results, by name, and the SHA-256 of its numbers and of the drawing modules."""
    from bruno_spice.training.studies.benchmarks import figures as benchmark_plots
    from bruno_spice.training.studies.paper import figures as paper_figures

    code = "".join(inspect.getsource(module) for module in (paper_figures, benchmark_plots, style))
    drawn = {}
    for name, draw in paper_figures.FIGURES.items():
        values = Values(plan, folder)
        if (figure := draw(values)) is not None:
            drawn[name] = (figure, hashlib.sha256((code + json.dumps(values.read)).encode()).hexdigest())
    return drawn


def text(plan: PaperPlan, folder: Path, drawn: set[str], document: str = DOCUMENT) -> str:
    """The `document`, with the figures in `drawn`. Raises `InputError` for a number that a result file lacks."""
    values = Values(plan, folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bruno_spice.training.studies.paper"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["num"] = number
    return environment.get_template(f"{document}.j2").render(
        values=values, ours=values.ours, mark=values.mark, link=values.link, results=values.results,
        ref=plan.references, drawn=drawn, told=values.told, comparisons=COMPARISONS, costs=BITS_COST,
        machines=sorted({file.machine["processor"] for file in values.files.values()}),
    )  # fmt: skip


def stamp(path: Path) -> str:
    """The SHA-256 that the figure at `path` carries; nothing where there is no such file."""
    if not path.is_file():
        return ""
    with Image.open(path) as image:
        return str(image.info.get(STAMP, ""))


def write_paper(plan: PaperPlan, folder: Path) -> list[Path]:
    """Write `DOCUMENTS` and their figures into `folder`; figures that would not change stay as they are."""
    drawn = figures(plan, folder)
    for name, (figure, digest) in drawn.items():
        path = folder / "figures" / f"paper_{name}.png"
        if stamp(path) != digest:
            style.save(figure, path, {STAMP: digest})
    return [write_atomic(folder / each, text(plan, folder, set(drawn), each)) for each in DOCUMENTS]
