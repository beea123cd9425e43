"""docs/paper.md and its figures, drawn from the plan's result files; a number without a file reads "not run".

The text stands in templates/paper.md.j2, which holds no result: it asks `Values` for each by experiment and path.
"""

import hashlib
import inspect
import json
import statistics
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from calibration import plots
from devices.errors import InputError
from devices.files import write_atomic
from training.paper import Plan
from training.paper_results import Results, load_results

DOCUMENT = "paper.md"
NOT_RUN = "not run"
STAMP = "Description"
"""PNG text that holds the SHA-256 of a figure's numbers and of the modules that draw figures."""


class Values:
    """The result files in ``folder/results``; `read` records every number that was asked for."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        found = {name: load_results(folder / "results", name) for name in plan.experiments}
        self.files: dict[str, Results] = {name: file for name, file in found.items() if file is not None}
        self.read: list[Any] = []

    def results(self, name: str) -> list[dict[str, Any]]:
        """What the command of experiment `name` printed for each seed; nothing where it was not run."""
        if name not in self.plan.experiments:
            raise InputError(f"the document names the experiment '{name}', which the plan does not have")
        file = self.files.get(name)
        return [] if file is None else [run.result for run in file.runs]

    def numbers(self, name: str, path: str) -> list[float]:
        """The number at the dotted `path` for each seed; of a list, how many it holds."""
        found = [_at(result, path, name) for result in self.results(name)]
        numbers = [float(len(each) if isinstance(each, list) else each) for each in found]
        self.read.append([name, path, numbers])
        return numbers

    def ours(self, name: str, path: str, form: str = ".3f", scale: float = 1.0) -> str:
        """Mean ± standard deviation (number of seeds) of the number at `path` times `scale`, linked to its file."""
        values = [scale * value for value in self.numbers(name, path)]
        if not values:
            return NOT_RUN
        text = format(statistics.mean(values), form)
        if len(set(values)) > 1:
            text += f" ± {format(statistics.stdev(values), form)} ({len(values)})"
        elif len(values) < len(self.plan.experiments[name].seeds):
            text += f" ({len(values)})"
        return self.link(name, text)

    def mark(self, mode: str, larger: bool, sign: str = "‡") -> str:
        """`sign` where what `mode` saves rests on extrapolated rows of the growth benchmark (`guessed`)."""
        from training.benchmark_growth import guessed

        found = [result["growth"] for result in self.results("bench-growth")]
        return sign if any(guessed(each["rows"], each["summary"], mode, larger) for each in found) else ""

    def link(self, name: str, text: str | None = None) -> str:
        """A link to the result file of experiment `name`; "not run" where there is none."""
        return f"[{text or name}](results/{name}.json)" if self.results(name) else NOT_RUN


def _at(content: Any, path: str, name: str) -> Any:
    for part in path.split("."):
        try:
            content = content[int(part)] if isinstance(content, list) else content[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise InputError(f"the results of {name} have no '{path}' (no '{part}')") from None
    return content


def number(value: float | None, form: str) -> str:
    """`value` in the format `form`; a dash where there is none."""
    return "–" if value is None else format(value, form)


def figures(plan: Plan, folder: Path) -> dict[str, tuple[Figure, str]]:
    """Every figure for which there are results, by name, and the SHA-256 of its numbers and of the drawing modules."""
    from training import benchmark_plots, paper_figures

    code = "".join(inspect.getsource(module) for module in (paper_figures, benchmark_plots, plots))
    drawn = {}
    for name, draw in paper_figures.FIGURES.items():
        values = Values(plan, folder)
        if (figure := draw(values)) is not None:
            drawn[name] = (figure, hashlib.sha256((code + json.dumps(values.read)).encode()).hexdigest())
    return drawn


def text(plan: Plan, folder: Path, drawn: set[str]) -> str:
    """The document, with the figures in `drawn`. Raises `InputError` for a number that a result file lacks."""
    values = Values(plan, folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["num"] = number
    return environment.get_template(f"{DOCUMENT}.j2").render(
        values=values, ours=values.ours, mark=values.mark, link=values.link, results=values.results,
        ref=plan.references, drawn=drawn,
        machines=sorted({file.machine["processor"] for file in values.files.values()}),
    )  # fmt: skip


def stamp(path: Path) -> str:
    """The SHA-256 that the figure at `path` carries; nothing where there is no such file."""
    if not path.is_file():
        return ""
    with Image.open(path) as image:
        return str(image.info.get(STAMP, ""))


def write_paper(plan: Plan, folder: Path) -> Path:
    """Write ``paper.md`` and its figures into `folder`; figures that would not change stay as they are."""
    drawn = figures(plan, folder)
    for name, (figure, digest) in drawn.items():
        path = folder / "figures" / f"paper_{name}.png"
        if stamp(path) != digest:
            plots.save(figure, path, {STAMP: digest})
    return write_atomic(folder / DOCUMENT, text(plan, folder, set(drawn)))
