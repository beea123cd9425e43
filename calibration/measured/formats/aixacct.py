"""aixACCT TF Analyzer: the ``.dat`` of dynamic hysteresis (DHM), pulses (PM), leakage (LM) and fatigue (FM).

The first line names the result, a table sums it up, then come blocks: a bare title (``Table 2``, ``Data Table [1,1]``),
lines ``Key [unit]: value`` and a table. Loops stand side by side over one time: I1 and P1, I2 and P2 flow under V+, the
third loop, which starts from the other remanence, under V-. A tester's own waveform (FORC) has one loop only. Pulses
stand side by side as groups of time, V, I and P; they follow each other in time and are one record.

No specification is published; the shape is that of exports of aixPlorer 3.0.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Array, Asked, Column, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import Statement, Text, in_brackets, statement

RESULTS = ("DynamicHysteresisResult", "PulseResult", "LeakageResult", "Fatigue")
KEYS = {
    "Area": "area_m2",
    "Thickness": "thickness_m",
    "Hysteresis Frequency": "frequency_hz",
    "Hysteresis Amplitude": "amplitude_v",
    "Pund Frequency": "frequency_hz",
    "Pund Amplitude": "amplitude_v",
    "Max. Voltage": "amplitude_v",
}
SUMMARY = {
    "Vc+": "vc_plus_v",
    "Vc-": "vc_minus_v",
    "Pr+": "pr_plus_c_m2",
    "Pr-": "pr_minus_c_m2",
    "Wloss": "w_loss_j_m2",
}
"""The tester's numbers of the first loop."""
PULSE_SUMMARY = {"Prrel+": "prrel_plus_c_m2", "Prrel-": "prrel_minus_c_m2"}
"""Those of pulses: the charge before the first one after a positive, and after a negative one."""
TITLE = re.compile(r"(Result |Data )?Table \[?[\d, ]+\]?")
BACKWARDS = ("3",)
"""Loops under V-."""


@dataclass
class _Block:
    """A title, what is stated below it, and its table: the header's line, its cells and the numbers."""

    title: str
    line: int
    stated: dict[str, Statement] = field(default_factory=dict)
    header: int = 0
    names: list[str] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)

    def text(self, key: str) -> str:
        return self.stated[key].value if key in self.stated else ""


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    result = text.lines[0].strip()
    blocks = _blocks(text)
    if result == "Fatigue":
        chosen = [block for block in blocks if block.title.startswith(("Result", "Data"))]
    else:
        module = next((n for n, block in enumerate(blocks) if "TfaModule" in block.stated), len(blocks))
        chosen = blocks[module + 1 :]
    measured = [block for block in chosen if block.values]
    if not measured:
        raise text.fault(len(text.lines), "no measured table in this file; it may be cut short")
    said = text.said + tuple(
        f"line {block.header} heads a table without numbers" for block in chosen if block.header and not block.values
    )
    listed = 0 if result == "Fatigue" else sum(block.values[0].size for block in blocks[:2] if block.values)
    if listed and listed != len(measured):
        said += (f"its summary lists {listed} measurements, but {len(measured)} are there",)
    return Found([record for block in measured for record in _records(text, block, asked)], said)


def _blocks(text: Text) -> list[_Block]:
    """Every block of the file, the result's name in the first line being the title of the first."""
    blocks = [_Block(text.lines[0].strip(), 1)]
    line = 2
    while line <= len(text.lines):
        raw = text.lines[line - 1]
        known = statement(raw, line)
        if TITLE.fullmatch(raw.strip()) or (raw.strip() and not known and "\t" not in raw):
            blocks.append(_Block(raw.strip(), line))
        elif known and not blocks[-1].values:
            blocks[-1].stated[known[0]] = known[1]
        elif raw.strip():
            block = blocks[-1]
            if block.values:
                raise text.fault(line, "neither a title, a statement nor a row of the table above")
            block.header, block.names = line, text.cells(line, "\t")
            below = line < len(text.lines) and text.lines[line].strip()
            if below:
                block.values, line = text.block(line + 1, block.names, "\t")
                continue
        line += 1
    return blocks


def _records(text: Text, block: _Block, asked: Asked) -> list[Record]:
    names = [in_brackets(name) for name in block.names]
    plain = [name for name, _ in names]

    @cache
    def one(at: int) -> Column:
        return column(plain[at], block.values[at], asked, names[at][1], path=text.path)

    if plain[:2] == ["Time", "V+"] and "P1" in plain:
        return [_record(text, block, *part) for part in _loops(text, block, plain, one)]
    if (pulses := plain.count("Time")) > 1 and plain == plain[: plain.index("Time", 1)] * pulses:
        return [_record(text, block, *_pulses(text, block, pulses, [one(at) for at in range(len(plain))]))]
    kind = "fatigue" if "Cycles" in plain else "leakage" if any("Leakage" in name for name in plain) else "table"
    return [_record(text, block, kind, "", [one(at) for at in range(len(plain))])]


def _record(
    text: Text, block: _Block, kind: str, name: str, columns: list[Column], notes: tuple[str, ...] = ()
) -> Record:
    sample, error, status = block.text("SampleName"), block.text("Error"), block.text("Measurement Status") or "0"
    if error or status != "0":
        notes += (f"the tester reports {error or 'a fault'} (status {status})",)
    if block.title.startswith("Data") and (cycles := block.text("Total Cycles")):
        notes += (f"after {cycles} cycles",)
    title = ", ".join(filter(None, (block.title, name)))
    known = text.stated(block.stated, KEYS)
    full = f"{title}: {sample}" if sample else title
    own = PULSE_SUMMARY if kind == "pulses" else SUMMARY if name in ("", "loop 1") else {}
    summary = text.summary(block.stated, own)
    return Record(kind, full, f"line {block.header}", tuple(columns), **known, notes=notes, summary=summary)


def _loops(
    text: Text, block: _Block, plain: list[str], one: Callable[[int], Column]
) -> Iterator[tuple[str, str, list[Column], tuple[str, ...]]]:
    """Kind, name, columns and notes of each loop."""
    single, own = block.text("SingleLoop") == "YES", block.text("ManualWaveform") == "YES"
    waveform = block.text("Waveform").split(":")[-1].strip()
    kind = "forc" if own and "forc" in waveform.lower() else "waveform" if own else "loop"
    notes = (f"driven by the waveform {waveform}",) if own else ()
    loops = [match[1] for name in plain if (match := re.fullmatch(r"P(\d+)", name))]
    for loop in loops[:1] if single else loops:
        wanted = ["Time", "V-" if loop in BACKWARDS else "V+", f"I{loop}", f"P{loop}"]
        if missing := next((name for name in wanted if name not in plain), None):
            raise text.fault(block.header, f"loop {loop} has no column {missing}")
        yield kind, "" if single else f"loop {loop}", [one(plain.index(name)) for name in wanted], notes


def _pulses(text: Text, block: _Block, pulses: int, columns: list[Column]) -> tuple[str, str, list[Column]]:
    """Kind, name and columns of pulses that stand side by side: one after the other, and which pulse each sample is."""
    width = len(columns) // pulses
    whole = []
    for first in range(width):
        parts = columns[first::width]
        if len({each.unit for each in parts}) > 1:
            raise text.fault(block.header, f"the pulses have {parts[0].name} in several units")
        whole.append(Column(parts[0].name, parts[0].unit, np.concatenate([each.values for each in parts])))
    points = columns[0].values.size
    whole.append(Column("pulse", "1", np.repeat(np.arange(1.0, pulses + 1), points)))
    return "pulses", f"{pulses} pulses {block.text('Pulse Sequence')}".strip(), whole


AIXACCT = Reader("aixACCT TF Analyzer", lambda head: head.partition("\n")[0].strip() in RESULTS, _read)
