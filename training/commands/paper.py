"""``bruno paper``: docs/paper.md and docs/where.md from their result files, and the experiments that make them."""

import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import messages
from bruno_spice.devices.errors import InputError

SCRATCH = Path("runs") / "paper"
QUICK_FOLDER = Path("runs") / "paper-quick"


def paper_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Experiments to run, if missing; * matches any.")
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run again what this very code did not make.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A small version, in runs/paper-quick.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time; measurements of time run alone.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of paper.md, where.md, results/ and figures/.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Run code that is not committed.")] = False,
    show: Annotated[
        bool, typer.Option("--list", help="List the experiments, what is done of them, and their commands.")
    ] = False,
) -> None:
    """Write docs/paper.md, the paper's figures beside what this code gives, and docs/where.md, FeLIF beside its rivals.

    Without a name, only from the result files that are there. Stopped runs go on with the same command.
    Examples: `bruno paper`, `bruno paper 'braille7-*' --jobs 2`, `bruno paper --rerun --jobs 2`
    """
    from bruno_spice.training.studies.paper.plan import load_plan
    from bruno_spice.training.studies.results import load_results

    plan = load_plan(quick=quick)
    folder = out or (QUICK_FOLDER if quick else Path("docs"))
    chosen = [n for n in plan.experiments if not names or any(fnmatch.fnmatch(n, pattern) for pattern in names)]
    if not chosen:
        raise InputError(f"no experiment is called {' or '.join(names or [])}; see bruno paper --list")
    if show:
        for each in (plan.experiments[name] for name in chosen):
            found = load_results(folder / "results", each.name)
            made = f"{len(found.seeds)} by {found.commit[:10]}" if found else "none"
            typer.echo(f"{each.name:22} seeds {len(each.seeds)}, done {made:15} {each.shown}")
        return
    try:
        if names or rerun or quick:
            from bruno_spice.training.studies.paper.run import Runner

            scratch = QUICK_FOLDER if quick else SCRATCH
            report = partial(messages.print, markup=False)
            runner = Runner(folder / "results", scratch, jobs, report, allow_dirty=allow_dirty or quick)
            wanted = [plan.experiments[name] for name in chosen if runner.wanted(plan.experiments[name], rerun)]
            report(f"{sum(len(each.seeds) for each in wanted)} runs of {len(wanted)} experiments")
            runner.run(wanted)
    finally:
        from bruno_spice.training.studies.paper.render import write_paper

        typer.echo(f"wrote {' and '.join(map(str, write_paper(plan, folder)))}")
