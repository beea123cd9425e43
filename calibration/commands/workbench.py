"""``bruno workbench``: the page to tune, look and compare."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import SimulatorOption, messages
from bruno_spice.calibration.workbench import PAGES
from bruno_spice.devices.errors import InputError

SELDOM = 50_000, 20, 50
"""When garbage is looked for: what modules make stays, and going through it as they come is a tenth of the start."""


def workbench_command(
    page: Annotated[
        str,
        typer.Argument(help=f"What to open first: {', '.join(PAGES)}; with a state as *Link* gives it, PAGE?STATE."),
    ] = "fecap",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 is any that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    simulator: SimulatorOption = "auto",
    out: Annotated[Path, typer.Option(help="Folder, below this one, of what is saved and uploaded.")] = Path(
        "workbench"
    ),
) -> None:
    """Open a page in the browser to tune devices on: sliders, curves, SPICE behind them, fits.

    It is there for this machine alone, reads files below the folder in which it is started, and ends with Ctrl-C.
    Examples: `bruno workbench`, `bruno workbench fecap --port 5006 --no-browser`,
    `bruno workbench 'fecap?ea=1.4&view=pund'`
    """
    import webbrowser

    from bruno_spice.calibration.spice.reading import begin

    gc.set_threshold(*SELDOM)
    begin()  # every page asks ngspice for parameters; it starts while the rest is imported
    from bruno_spice.calibration.workbench.place import Place
    from bruno_spice.calibration.workbench.server import run

    name, _, query = page.partition("?")
    if name not in PAGES:
        raise InputError(f"there is no page '{name}'; there are {', '.join(PAGES)}")
    root = Path.cwd().resolve()
    folder = (root / out).resolve()
    if not folder.is_relative_to(root) or folder == root:
        raise InputError(f"--out {out}: name a folder below this one, such as workbench")

    def opened(address: str, once: str) -> None:
        typer.echo(f"the workbench is at {address}")
        messages.print("it ends with Ctrl-C", markup=False)
        if not no_browser:
            webbrowser.open(once)

    run(Place(root, folder, simulator), port, name, query, opened)
