"""Two cards or two runs as one HTML page: what differs, and by how much."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from bruno_spice.calibration.cards.catalogue import CARD_TYPES, load_any_card
from bruno_spice.calibration.presentation.page import PlotlyFigure, Section, Table, write_page
from bruno_spice.calibration.targets.comparison import COLOURS, Pair, card_sections, difference
from bruno_spice.calibration.targets.report import layout
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, short
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.reports.run import configuration
from bruno_spice.training.runs.folder import RunFolder, check_cards, kept_models, whole
from bruno_spice.training.tasks.base import PARTS

LONGEST_NAME = 30


def write_comparison(first: Path, second: Path, out: Path) -> str:
    """Write the page about `first` and `second`, both cards or both run folders, to `out`; return its gist in a line.

    Raises `InputError` for one of each, and for cards of different models; `CardError` for a card that cannot be read.
    """
    kinds = [path.is_dir() for path in (first, second)]
    if kinds[0] != kinds[1]:
        run, card = (first, second) if kinds[0] else (second, first)
        raise InputError(f"{printable(str(run))} is a run and {printable(str(card))} a card; compare two of a kind")
    names = _names(first, second)
    if kinds[0]:
        sections, gist = _run_sections(RunFolder(first), RunFolder(second), names)
    else:
        cards = load_any_card(first), load_any_card(second)
        sections, gist = card_sections(*cards, names), difference(*cards)
    lead = f"{names[0]}: {printable(str(first))}. {names[1]}: {printable(str(second))}."
    write_page(out, f"{names[0]} against {names[1]}", lead, sections)
    return gist


def _names(first: Path, second: Path) -> Pair:
    """Short names that tell the two apart: the last parts of their paths, or A and B."""
    pairs = list(zip_longest(first.resolve().with_suffix("").parts[::-1], second.resolve().with_suffix("").parts[::-1]))
    pair = next(((a, b) for a, b in pairs if a != b and a and b), ("A", "B"))
    found = tuple(short(each, LONGEST_NAME) for each in pair)
    return ("A", "B") if found[0] == found[1] else (found[0], found[1])


def _run_sections(first: RunFolder, second: RunFolder, names: Pair) -> tuple[list[Section], str]:
    configs = [folder.load_config(trust_code=True) for folder in (first, second)]  # a comparison runs nothing of them
    results = [folder.read_result() for folder in (first, second)]
    for folder, config, result in zip((first, second), configs, results, strict=True):
        check_cards(folder, kept_models(config, result), result)
    with whole(first.result, f"bruno train --out {first.path} --resume"):
        scores, same = _scores(results, names), _same_task(results)
        curves = [PlotlyFigure(_curves(metric, [first, second], names), low=True) for metric in _metrics(results)]
    sections = [
        Section("Scores", same, tables=[scores]),
        Section("Learning curves", "On validation, by epoch; the training loss dotted.", plotly=curves),
        Section("Settings", tables=[_settings(configs, names)]),
    ]
    shared = [m for m in kept_models(configs[0], results[0]) if m in kept_models(configs[1], results[1])]
    for model in shared:
        cards = [CARD_TYPES[model].load(folder.card_file(model)) for folder in (first, second)]
        if cards[0].parameters == cards[1].parameters:
            sections.append(Section(f"The {model} card", "Both runs have the same parameters."))
            continue
        for each in card_sections(cards[0], cards[1], names):
            heading = f"The {model} card: {each.heading[0].lower()}{each.heading[1:]}"
            sections.append(Section(heading, each.text, each.plotly, each.images, each.tables))
    metric = results[0]["metric"]
    gist = ", ".join(f"{name} {_test(result, metric)}" for name, result in zip(names, results, strict=True))
    return sections, f"test {metric}: {gist}"


def _test(result: dict[str, Any], metric: str) -> str:
    return f"{result['test'][metric]:.4f}" if metric in result["test"] else "not scored"


def _same_task(results: list[dict[str, Any]]) -> str:
    tasks = [str(result["task"]) for result in results]
    if tasks[0] != tasks[1]:
        return f"The tasks differ ({tasks[0]} and {tasks[1]}), so the scores say nothing about each other."
    others = [part for part in PARTS if results[0]["data"][part] != results[1]["data"][part]]
    if "test" in others:
        return f"{tasks[0]}, on different data: the scores are not of the same test pieces."
    trained = f" The test pieces are the same, the data of {' and '.join(others)} are not." if others else ""
    return f"{tasks[0]}: {results[0]['source']}.{trained} One seed each says nothing about a small difference."


def _scores(results: list[dict[str, Any]], names: Pair) -> Table:
    rows = []
    for part in ("test", "valid"):
        for name in [each for each in results[0][part] if each in results[1][part]]:
            a, b = (float(result[part][name]) for result in results)
            rows.append([f"{part} {name}", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}"])
    for what, form in (("best_epoch", "d"), ("epochs", "d"), ("wall_time_s", ".3g"), ("seed", "d")):
        a, b = (result[what] for result in results)
        label = "wall time (s)" if what == "wall_time_s" else what.replace("_", " ")
        rows.append([label, format(a, form), format(b, form), format(b - a, f"+{form}")])
    return Table("Scores and effort", ["", *names, "difference"], rows)


def _metrics(results: list[dict[str, Any]]) -> list[str]:
    """The metrics that both runs have, their own first."""
    own = list(dict.fromkeys(result["metric"] for result in results))
    return [name for name in own if all(name in result["valid"] for result in results)]


def _curves(metric: str, folders: list[RunFolder], names: Pair) -> go.Figure:
    figure = go.Figure()
    for folder, name, colour in zip(folders, names, COLOURS, strict=True):
        history = folder.read_metrics()
        epochs = [row["epoch"] for row in history]
        line = {"color": colour, "width": 2}
        figure.add_trace(go.Scatter(x=epochs, y=[row["valid"][metric] for row in history], mode="lines+markers",
                                    line=line, name=name))  # fmt: skip
        if metric in ("nll", "loss"):
            figure.add_trace(go.Scatter(x=epochs, y=[row["train"]["loss"] for row in history], mode="lines",
                                        line=line | {"dash": "dot"}, name=f"{name}, training loss"))  # fmt: skip
    figure.update_xaxes(title_text="epoch", dtick=1 if max(len(trace.x) for trace in figure.data) < 21 else None)
    figure.update_yaxes(title_text=metric)
    figure.update_layout(title=f"{metric} by epoch", **layout())
    return figure


def _settings(configs: list[RunConfig], names: Pair) -> Table:
    """The settings that differ, a row each."""
    one, other = (dict(configuration(config)) for config in configs)
    rows = [
        [name, one.get(name, "–"), other.get(name, "–")]
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]
    return Table("Settings that differ" if rows else "No setting differs", ["setting", *names], rows)
