"""The codesign table of finished runs: every lever's worth in the units of a foundry, and its tornado."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.training.codesign.levers import Lever, lever
from bruno_spice.training.codesign.response import Moves, Trained
from bruno_spice.training.networks.config_file import more_than_the_seed
from bruno_spice.training.neurons.shared import levers, members
from bruno_spice.training.progress import Reporter, Silent
from bruno_spice.training.runs.checkpoint import kept_hashes
from bruno_spice.training.runs.folder import RunFolder, card_models, sealed

FILE = "codesign.json"
COST = {True: 1e-3, False: 0.01}
"""By whether more is better: 0.1 points of a share, 0.01 nats of a loss."""


@dataclass(frozen=True)
class Options:
    """How closely to look."""

    steps: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
    """Shares of the value by which a parameter is moved to either side."""
    spread: float = 0.04
    """Relative spread at which neurons are made to differ; what 1 % does follows by the square."""
    pairs: int = 4
    """Pairs of opposite chips drawn with it; 0: none."""
    reads: int = 1
    """Times that noisy devices are read: the noise falls with the root."""
    score: str | None = None
    """A score of the task, by default its metric."""
    cost: float | None = None
    """How much worse the score may get; by default 0.01, and 0.001 (0.1 points) where more is better."""
    more_is_better: bool | None = None
    """Which way the score gets better; by default what the task says of it (`Task.more_is_better`)."""


QUICK = Options(steps=(0.02, 0.08), pairs=1)


def codesign(
    runs: Sequence[Path],
    over: Sequence[str] | None = None,
    options: Options | None = None,
    reporter: Reporter | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """The table of `runs`, which differ in their seed, over the parameters `over`, all by default, as plain values.

    Raises `InputError` for runs that cannot be compared, a parameter that cannot be moved, and a score of which neither
    task nor name nor `options` say which way it gets better.
    """
    options, reporter = options or Options(), reporter or Silent()
    networks: list[Trained] = []
    for run in runs:
        networks.append(Trained(run, options.score, trust_code, reporter, options.reads))
        for before in networks[:-1]:
            check_alike(before, networks[-1])
    first = networks[0]
    names = list(dict.fromkeys(over or levers(first.card)))
    for name in names:
        members(first.card, name)
    more = first.task.more_is_better(first.metric) if options.more_is_better is None else options.more_is_better
    if more is None:
        raise InputError(
            f"neither the task nor its name says whether more or less of the score '{first.metric}' is better; add "
            "--more-is-better or --less-is-better"
        )
    cost = COST[more] if options.cost is None else options.cost
    steps = np.array(sorted(options.steps))
    reporter.start(0, len(runs) * len(names) * 2 * (len(steps) + options.pairs))
    rows = []
    try:
        for name in names:
            moves: list[Moves] = [each.moves(name, steps, options.spread, options.pairs, reporter) for each in networks]
            found = lever(name, moves, cost, more, options.spread)
            reporter.line(f"{name}: {first.metric} {found.slope:+.2g} for +1 %")
            rows.append(_row(found, first))
    finally:
        reporter.close()
    return {
        "runs": [str(run) for run in runs],
        "weights_sha256": [RunFolder(run).weights_sha256() for run in runs],
        "task": first.config.task,
        "score": first.metric,
        "higher_is_better": more,
        "test": [each.at_card.score for each in networks],
        "test_pieces": len(first.at_card.total),
        "cost": cost,
        "interval": f"seeds, {len(runs)} runs" if len(runs) > 1 else f"test pieces, {len(first.at_card.total)}",
        "steps": steps.tolist(),
        "reads": options.reads,
        "spread": options.spread,
        "levers": sorted(rows, key=lambda row: -abs(row["slope"])),
    }


def check_alike(first: Trained, other: Trained) -> None:
    """Raise `InputError` where `other` differs from `first` in more than its seed, or not even in that."""
    if (first.config.task, first.metric) != (other.config.task, other.metric):
        raise InputError(f"{other.run}: of the task {other.config.task}, {first.run} of {first.config.task}")
    if found := more_than_the_seed(first.config, other.config):
        raise InputError(
            f"{first.run} and {other.run} differ in {found}; runs of one table may differ in their seed alone"
        )
    if first.config.seed == other.config.seed:
        raise InputError(
            f"{first.run} and {other.run} have the same seed, {first.config.seed}; an interval over seeds needs others"
        )
    if first.card.parameters != other.card.parameters:
        raise InputError(f"{other.run}: its neurons are made from another card than those of {first.run}")
    one, two = (RunFolder(each.run) for each in (first, other))
    of_one, of_two = (folder.card_hashes(card_models(first.config)) for folder in (one, two))
    if models := [model for model in of_one if of_one[model] != of_two[model]]:
        raise InputError(f"{other.run}: its {models[0]} card is another than that of {first.run}")
    for what in ("data", "code"):
        kept, own = (
            kept_hashes(folder.best, "best", folder.identity(each.config), what)
            for folder, each in ((one, first), (two, other))
        )
        if parts := [part for part in sorted({*kept, *own}) if kept.get(part) != own.get(part)]:
            raise InputError(f"{other.run}: the {what} of {' and '.join(parts)} are others than those of {first.run}")


def _row(found: Lever, network: Trained) -> dict[str, Any]:
    """`found` with what it is in the parameter's unit and in the netlist."""
    card = network.card
    each = members(card, found.name)
    value = network.value(each[0])
    shared = found.name not in card.UNITS and found.name not in card.DOMAIN_UNITS and card.domains > 1
    return {
        **asdict(found),
        "value": value,
        "unit": card.parameters[each[0]].unit,
        "param": None if shared else card.NEURON.deck_parameter(each[0]),
        "slope_per_unit": found.slope / (0.01 * value),
        "tolerance_si": None if found.tolerance is None else found.tolerance * abs(value),
    }


def write_table(folder: Path, table: dict[str, Any]) -> Path:
    """Write ``codesign.json`` into `folder`."""
    return write_atomic(folder / FILE, json.dumps(sealed(table), indent=2, allow_nan=False) + "\n")
