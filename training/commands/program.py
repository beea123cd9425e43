"""``bruno program``: what to write into the device arrays of a trained network."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bruno_spice.calibration.commands.shared import JsonOption, messages, print_json
from bruno_spice.devices.files import folder_lock, write_atomic
from bruno_spice.devices.reading import printable
from bruno_spice.training.commands.options import TrustOption

if TYPE_CHECKING:
    from bruno_spice.training.synapses.device import DeviceLinear


def program_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the tables; by default RUN/programming.")] = None,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the programming table of every device array of a trained network, a CSV an array, a device a line.

    Columns: row (input), column (output), polarity (+, -, ref), level, what to write (i_prog_a of RRAM), g_target_s of
    the mean device and g_expected_s of this very one. Says which levels do not hold for how long, where it is known:
    of such a level more than 5 % of the devices are read as another one.
    Example: `bruno program runs/chorales --out tables`
    """
    from bruno_spice.devices.errors import InputError
    from bruno_spice.training.runs.evaluation import load_run
    from bruno_spice.training.runs.folder import RunFolder
    from bruno_spice.training.synapses.device import DeviceLinear
    from bruno_spice.training.synapses.retention import of_array, sentences, unknown

    with messages.status(Text(f"reading {printable(str(run_dir))}")):
        _, _, network = load_run(run_dir, partial(messages.print, markup=False), trust_code)
    arrays = {name: each for name, each in network.synapses().items() if isinstance(each, DeviceLinear)}
    if not arrays:
        raise InputError(f"{run_dir}: its weights have no devices to program; train with --bits 3, say")
    folder = out or run_dir / "programming"
    with folder_lock(out) if out else RunFolder(run_dir).writing():
        rows = _write_tables(arrays, folder)
    array = next(iter(arrays.values()))
    said, held = unknown(array.model), of_array(array)
    if as_json:
        levels = [each.model_dump() for each in held]
        print_json({"run": str(run_dir), "arrays": rows, "levels": levels, "said": said})
        return
    for row in rows:
        typer.echo(f"{row['table']}: {row['devices']} devices, {row['inputs']} inputs, {row['outputs']} outputs")
    for sentence in sentences(held):
        typer.echo(sentence)
    if said:
        typer.echo(f"note: {said}")


def _write_tables(arrays: "dict[str, DeviceLinear]", folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name, array in arrays.items():
        path = folder / f"{name}.csv"
        table = array.programming_table()
        write_atomic(path, table)
        n_out, n_in = array.weight.shape
        rows.append(
            {"array": name, "inputs": n_in, "outputs": n_out, "devices": table.count("\n") - 1, "table": str(path)}
        )
    return rows
