"""ngspice with compiled models: a deck's subcircuits as OSDI devices, everything else as it stands.

    N_x1 nodes m_x1        .model m_x1 MODULE parameter=value ...

Sources, resistors and B-sources of the deck itself stay ngspice's own. ngspice must be built with OSDI (from 39 on it
can be, Debian's 39 is not); it is asked, not assumed. It runs on one thread: with eight, small circuits take 200 times
as long. Source: ngspice manual 46, chapter 9.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.ngspice import Job, Model, Ngspice, Simulator
from bruno_spice.calibration.spice.statements import deck_text
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.circuit import Deck, head_words, translating
from bruno_spice.calibration.verilog_a.compiled import CompiledWorker, translation_identity
from bruno_spice.calibration.verilog_a.deck import Placed
from bruno_spice.calibration.verilog_a.module import Module
from bruno_spice.devices.waveform import Waveform


@lru_cache(maxsize=1)
def installed_osdi() -> Ngspice:
    """The installed ngspice, if it has OSDI, with the compiler. Raises `SimulationError` without either."""
    openvaf.installed()
    with OsdiWorker() as worker:
        return worker.start()


def with_models(lines: Sequence[Line], models: Sequence[Model] = ()) -> tuple[tuple[Module, ...], tuple[Line, ...]]:
    """The modules of the subcircuits, and of the user's `models`, that the rendered deck `lines` has instances of, and
    the deck with those in place.

    Raises `NetlistError` by file and line for what has no translation.
    """
    with translating(lines):
        return _with_models(Deck.of(lines, models))


def _with_models(deck: Deck) -> tuple[tuple[Module, ...], tuple[Line, ...]]:
    placed = Placed(deck)
    found: list[Line] = []
    for statement in deck.statements:
        if statement.scope or statement.card in (".subckt", ".ends"):
            continue
        if not statement.card.startswith("x"):
            found.append(Line(statement.code, statement.line.path, statement.line.number))
            continue
        module, values = placed.instance(statement)
        given = " ".join(f"{p}={value!r}" for p, value in values.items())
        name = statement.card
        for text in (
            f"N{name} {' '.join(head_words(statement)[1:-1])} m_{name}",
            f".model m_{name} {module.name} {given}".rstrip(),
        ):
            found.append(Line(text, statement.line.path, statement.line.number))
    return tuple(placed.modules.values()), (Line("* bruno"), *found, Line(".end"))


class OsdiWorker(CompiledWorker):
    """Runs one job at a time in ngspice, its subcircuits compiled."""

    program, arguments = "ngspice with OSDI", ("--osdi",)

    def run(self, job: Job) -> Waveform:
        """Simulate `job`; raises what a run in ngspice does, and `NetlistError` for what has no translation."""
        modules, lines = with_models(job.lines, job.models)
        ready = Job(deck_text(lines), job.vectors, job.t_stop_s, job.label, lines)
        with self._working:
            files = self.files(modules)
            return self.simulated(ready, {"folder": str(self.own_folder()), "osdi": list(files.values())})

    def _about(self, greeting: dict[str, Any]) -> Ngspice:
        if not greeting.get("osdi"):
            raise SimulationError(
                f"ngspice {greeting['version']} has no OSDI, so it cannot load compiled models; --simulator ngspice "
                "needs none, and ngspice 44 of Debian 13 or 46 of bookworm-backports has it"
            )
        return Ngspice(greeting["version"], f"osdi {greeting['identity']} {translation_identity('ngspice_osdi')}")


def by_hand(job: Job, name: str) -> dict[str, str]:
    """What ngspice with OSDI reads of `job`, as `Simulator.by_hand` has it, and what makes it do so."""
    modules, lines = with_models(job.lines, job.models)
    files = [f"{name}-{module.name}" for module in modules]
    first = [f"* before: openvaf-r {file}.va, and in .spiceinit: osdi {file}.osdi" for file in files]
    deck = deck_text((lines[0], *(Line(text) for text in first), *lines[1:]))
    return {".cir": job.deck, "-osdi.cir": deck} | {f"-{module.name}.va": module.text for module in modules}


NGSPICE_OSDI = Simulator(installed_osdi, OsdiWorker, by_hand=by_hand)
