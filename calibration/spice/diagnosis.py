"""From ngspice's words to one clear error: what went wrong, in which file and line, and what to do.

ngspice counts the lines of the deck it was given, includes written out; inside subcircuits it gives no
number at all but the flattened name of the element (``b.x1.xfe.bef``), which is followed down the
instances here.
"""

import re
from collections.abc import Sequence
from typing import Any

from bruno_spice.calibration.errors import CalibrationError, ConvergenceError, NetlistError, SimulationError
from bruno_spice.calibration.spice.lines import Line

BANNER = re.compile(r"\AThis is vacask.*^OpenBLAS CPUs:[^\n]*$", re.DOTALL | re.MULTILINE)
"""What VACASK says of itself."""
SHOWN = 160
"""Characters of a statement or of ngspice's words that a message shows."""


def diagnose(
    report: dict[str, Any],
    label: str,
    lines: Sequence[Line],
    t_stop_s: float,
    time_limit_s: float,
    memory_limit_bytes: int,
    program: str = "ngspice",
) -> CalibrationError:
    """The error that a worker's `report` (status, log) on the deck `lines`, run in `program`, stands for."""
    status, log = report["status"], report.get("log", "")
    if status == "hung":
        return SimulationError(
            f"{label}: no result within {time_limit_s:g} s, so the worker was killed; "
            "shorten the run, loosen its options or raise the time limit"
        )
    if status == "no disk":
        return SimulationError(f"{label}: {program} needs a place for temporary files, {log}")
    if status == "out of memory" or re.search(r"alloc|failed to map segment", log, re.IGNORECASE):
        return SimulationError(
            f"{label}: {program} needed more than {memory_limit_bytes / 2**30:.3g} GiB; "
            "save fewer vectors or shorten the run"
        )
    if status == "missing vectors":
        return NetlistError(
            f"{label}: the netlist has no {' and no '.join(map(_spoken, report['names']))}; "
            "spice_netlists/README.md lists the nodes and sources that it needs"
        )
    if error := _netlist_fault(log, label, lines):
        return error
    if found := _no_convergence(log):
        return ConvergenceError(
            f"{label}: {program} did not converge {found}; start sources at zero, smooth what switches, or change "
            ".options"
        )
    if status == "crashed":
        return SimulationError(f"{label}: {program} ended its process (code {report.get('code')}){_last_words(log)}")
    if status == "done":
        return ConvergenceError(
            f"{label}: {program} stopped before {t_stop_s:g} s after {report['points']} points, or returned numbers "
            f"that are not finite; the waveform was thrown away{_last_words(log)}"
        )
    return NetlistError(f"{label}: {program} refused the netlist{_last_words(log)}")


def _no_convergence(log: str) -> str:
    """In which analysis, when and where the words of a simulator say that it found no solution; empty if they do not.

    ngspice: ``TRAN: Timestep too small; time = ..., timestep = ...: trouble with node "a"``, without a time where that
    was the operating point, and there with a star at each node of its table that had not settled. VACASK: ``Homotopy
    failed`` on the operating point, ``Timestep too small. Transient analysis aborted.``, before either what broke, as
    ``row node 'n_a'`` or ``zero pivot @ node 'i_v2:flow(br)'``.
    """
    told = re.search(
        r"(?:Timestep too small|TRAN:|Homotopy|failed to converge|No convergence)[^\n]*", log, re.IGNORECASE
    )
    if told is None:
        return ""
    when = re.search(r"time = ([\d.e+-]+)", told[0])
    moving = when is not None or "Transient analysis aborted" in log
    where = re.search(r"trouble with node \"?([^\"\s]+)", told[0])
    unsettled = re.search(r"^(\S+) +\S+ +\S+ \*$", log, re.MULTILINE)
    broken = re.findall(r"(?:row|pivot @) node '[ni]_([^']+)'", log)
    named = where[1] if where else broken[-1] if broken else unsettled[1] if unsettled else ""
    source = re.fullmatch(r"(.+?)(?:#branch|:flow\(br\))", named)
    trouble = f"source '{source[1]}'" if source else f"node '{named}'"
    return (
        ("in the transient analysis" if moving else "on the operating point")
        + (f" at {float(when[1]):g} s" if when else "")
        + (f", trouble with {trouble}" if named else "")
    )


def _netlist_fault(log: str, label: str, lines: Sequence[Line]) -> NetlistError | None:
    if "No job (tran" in log:
        return NetlistError(f"{label}: the netlist has no analysis; add a .tran card such as '.tran 5u 122m'")
    if match := re.search(r"Netlist line no\. (\d+):\n(?!Cannot compute)([^\n]+)", log):
        line = _numbered(lines, int(match[1])) or _mentioning(lines, match[2])
        return NetlistError(_at(line, label, match[2]))
    if match := re.search(r"Error on line(?: (\d+) or its substitute)?:\n *([^\n]*)\n\s*([^\n]*)", log):
        said = log[: match.start()].rstrip().splitlines()[-1:]
        telling = said and re.search(r"error|can't|no such", said[0], re.IGNORECASE)
        line = _flattened(lines, (match[2].split() or [""])[0]) or _numbered(lines, int(match[1] or 0))
        return NetlistError(_at(line, label, said[0] if telling else match[3]))
    if match := re.search(r"unknown subckt: (\S+)", log):
        line = _flattened(lines, match[1])
        named = [word for word in line.code.split() if "=" not in word][-1:] if line else []
        return NetlistError(_at(line, label, f"unknown subcircuit '{named[0] if named else match[1]}'"))
    if match := re.search(r'Too (many|few) parameters for subcircuit type "(\S+)" \(instance: x(\S+)\)', log):
        return NetlistError(_at(_flattened(lines, match[3]), label, f"too {match[1]} pins for subcircuit '{match[2]}'"))
    for match in re.finditer(r"^error: *(.+?)(?:: *|\n)([^:\n]+)$", log, re.IGNORECASE | re.MULTILINE):
        if line := _quoted(lines, match[2]):
            return NetlistError(_at(line, label, match[1]))
    return None


def _at(line: Line | None, label: str, message: str) -> str:
    message = re.sub(r"^(error|warning)[:,]\s*", "", message.strip(), flags=re.IGNORECASE)
    if line is None:
        return f"{label}: {message}"
    text = line.text.strip()
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f"{line.where if line.path else label}: {message[:SHOWN]} in '{shown}'"


def _numbered(lines: Sequence[Line], number: int) -> Line | None:
    return lines[number - 1] if 1 <= number <= len(lines) else None


def _mentioning(lines: Sequence[Line], message: str) -> Line | None:
    """The first line whose code has the word that `message` puts in brackets."""
    word = re.search(r"\[([^\]]+)\]", message)
    if not word:
        return None
    pattern = re.compile(rf"(?<!\w){re.escape(word[1])}(?!\w)", re.IGNORECASE)
    return next((line for line in lines if pattern.search(line.code)), None)


def _quoted(lines: Sequence[Line], statement: str) -> Line | None:
    """The line that ngspice repeats behind or below its words, in small letters."""
    words = statement.lower().split()
    return next((line for line in lines if line.code.lower().split() == words), None)


def _flattened(lines: Sequence[Line], name: str) -> Line | None:
    """The line of the element that ngspice calls ``b.x1.xfe.bef``: element ``bef`` in what ``xfe`` in ``x1`` is."""
    path = name.lower().split(".")
    if len(path) > 1 and len(path[0]) == 1:
        path = path[1:]
    scope = ""
    found = None
    for element in path:
        found = next((line for line, inside in _scoped(lines) if inside == scope and _first(line) == element), None)
        if found is None:
            return None
        scope = _instance_type(lines, found)
    return found


def _scoped(lines: Sequence[Line]) -> list[tuple[Line, str]]:
    """Every line with the name of the subcircuit it stands in ('' at deck level)."""
    scopes: list[str] = []
    scoped = []
    for line in lines:
        words = line.code.lower().split()
        if words[:1] == [".subckt"] and len(words) > 1:
            scopes.append(words[1])
        scoped.append((line, scopes[-1] if scopes else ""))
        if words[:1] == [".ends"] and scopes:
            scopes.pop()
    return scoped


def _instance_type(lines: Sequence[Line], line: Line) -> str:
    """The subcircuit's name in an instance line: the last word before the parameters."""
    index = next(i for i, other in enumerate(lines) if other is line)
    code = line.code
    for following in lines[index + 1 :]:
        if not following.code.strip().startswith("+"):
            break
        code += " " + following.code.strip().lstrip("+")
    head = re.split(r"\s+\w+\s*=", code.lower(), maxsplit=1)[0].split()
    return head[-1] if head else ""


def _first(line: Line) -> str:
    return (line.code.lower().split() or [""])[0]


def _spoken(vector: str) -> str:
    source, _, branch = vector.partition("#")
    return f"source '{source}'" if branch else f"node '{vector}'"


def _last_words(log: str) -> str:
    lines = [line.strip() for line in BANNER.sub("", log).splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|can't|cannot|unknown|fail", line, re.IGNORECASE)]
    return f": {telling[0]}" if telling else f": {lines[-1]}" if lines else ""
