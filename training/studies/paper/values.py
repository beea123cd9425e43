"""The numbers of docs/paper.md, read from its result files."""

import statistics
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.training.studies.paper.paired import Comparison, Difference, difference
from bruno_spice.training.studies.paper.plan import PaperPlan
from bruno_spice.training.studies.results import Results, load_results

NOT_RUN = "not run"


class Values:
    """The result files in ``folder/results``; `read` records every number that was asked for."""

    def __init__(self, plan: PaperPlan, folder: Path) -> None:
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

    def by_seed(self, name: str, path: str) -> dict[int, float]:
        """The number at the dotted `path` by seed."""
        found = self.numbers(name, path)
        return dict(zip(self.files[name].seeds, found, strict=True)) if found else {}

    def difference(self, asked: Comparison) -> Difference | None:
        """By how much the first of `asked` is better than the second; None where no seed was run of both."""
        first, second = (self.by_seed(name, asked.score.path) for name in (asked.first, asked.second))
        return difference(first, second, asked.score.scale)

    def told(self, asked: Comparison) -> dict[str, str]:
        """`asked` in words: the difference with its interval, what it says, and both sizes; each "not run" without."""
        found = self.difference(asked)
        if found is None:
            return dict.fromkeys(("better by", "so", "parameters"), NOT_RUN)
        form = asked.score.form
        between = f" ({found.low:{form}} … {found.high:{form}}; {found.seeds})" if found.seeds > 1 else " (1)"
        sizes = [f"{self.numbers(name, 'parameters')[0]:,.0f}" for name in (asked.first, asked.second)]
        return {
            "better by": f"{found.mean:{form}}{between}",
            "so": found.verdict,
            "parameters": f"{self.link(asked.first, sizes[0])}, {self.link(asked.second, sizes[1])}",
        }

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
        from bruno_spice.training.studies.benchmarks.growth import guessed

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
