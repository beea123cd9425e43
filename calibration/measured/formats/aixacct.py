"""aixACCT TF Analyzer: the ``.dat`` of dynamic hysteresis (DHM), pulses (PM), leakage (LM) and fatigue (FM).

The first line names the result, a table sums it up, then come blocks: a bare title (``Table 2``, ``Data Table [1,1]``),
lines ``Key [unit]: value`` and a table. Loops stand side by side over one time: I1 and P1, I2 and P2 flow under V+, the
third loop, which starts from the other remanence, under V-. A tester's own waveform (FORC) has one loop only. Pulses
stand side by side as groups of time, V, I and P; they follow each other in time and are one record.

No specification is published; the shape is that of exports of aixPlorer 3.0.
"""

import re
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
    records = [record for block in chosen if block.values for record in _records(text, block, asked)]
    if not records:
        raise text.fault(len(text.lines), "no measured table in this file; it may be cut short")
    return Found(records, text.said)


def _blocks(text: Text) -> list[_Block]:
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
    def made(kind: str, name: str, columns: list[Column], notes: tuple[str, ...] = ()) -> Record:
        sample = block.text("SampleName")
        error = block.text("Error")
        status = block.text("Measurement Status") or "0"
        if error or status != "0":
            notes += (f"the tester reports {error or 'a fault'} (status {status})",)
        if block.title.startswith("Data") and (cycles := block.text("Total Cycles")):
            notes += (f"after {cycles} cycles",)
        title = ", ".join(filter(None, (block.title, name)))
        known = text.stated(block.stated, KEYS)
        return Record(kind, f"{title}: {sample}" if sample else title, where, tuple(columns), **known, notes=notes)

    where = f"line {block.header}"
    short = [in_brackets(name) for name in block.names]
    plain = [name for name, _ in short]

    @cache
    def one(at: int) -> Column:
        return column(short[at][0], block.values[at], asked, short[at][1], path=text.path)

    loops = [match[1] for name in plain if (match := re.fullmatch(r"P(\d+)", name))]
    if plain[:2] == ["Time", "V+"] and loops:
        single = block.text("SingleLoop") == "YES"
        waveform = block.text("Waveform")
        own = block.text("ManualWaveform") == "YES"
        kind = "forc" if own and "forc" in waveform.lower() else "waveform" if own else "loop"
        out = []
        for loop in loops[:1] if single else loops:
            wanted = ["Time", "V-" if loop in BACKWARDS else "V+", f"I{loop}", f"P{loop}"]
            missing = [name for name in wanted if name not in plain]
            if missing:
                raise text.fault(block.header, f"loop {loop} has no column {missing[0]}")
            notes = (f"driven by the waveform {waveform.split(':')[-1].strip()}",) if own else ()
            name = "" if single else f"loop {loop}"
            out.append(made(kind, name, [one(plain.index(name)) for name in wanted], notes))
        return out
    group = plain[: plain.index("Time", 1)] if plain.count("Time") > 1 else []
    if group and plain == group * plain.count("Time"):
        pulses = plain.count("Time")
        sequence = block.text("Pulse Sequence")
        whole = [one(n) for n in range(len(group))]
        for n, each in enumerate(whole):
            units = {short[at][1] for at in range(n, len(plain), len(group))}
            if len(units) > 1:
                raise text.fault(block.header, f"the pulses have {each.name} in several units")
            parts = [one(at).values for at in range(n, len(plain), len(group))]
            whole[n] = Column(each.name, each.unit, np.concatenate(parts))
        points = whole[0].values.size // pulses
        whole.append(Column("pulse", "1", np.repeat(np.arange(1.0, pulses + 1), points)))
        return [made("pulses", f"{pulses} pulses {sequence}".strip(), whole)]
    kind = "fatigue" if "Cycles" in plain else "leakage" if any("Leakage" in name for name in plain) else "table"
    return [made(kind, "", [one(n) for n in range(len(plain))])]


AIXACCT = Reader("aixACCT TF Analyzer", lambda head: head.partition("\n")[0].strip() in RESULTS, _read)
