"""Netlists of Spectre: ``name (nodes) master parameter=value``, statements by their first word or by their master.

What it means otherwise than ngspice: names and suffixes tell upper from lower case (``1M`` is mega, ``1m`` milli);
only 0, or the first node of ``global``, is ground; parameters of a subcircuit are those of its ``parameters``
statement; ``//`` begins a comment and a line ending in ``\\`` goes on. Source: Spectre Circuit Simulator Reference.
"""

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bruno_spice.calibration.dialects.dialect import Dialect
from bruno_spice.calibration.dialects.files import Code, Files, joined
from bruno_spice.calibration.dialects.formulas import FUNCTIONS, Language
from bruno_spice.calibration.dialects.languages.spectre_masters import Masters
from bruno_spice.calibration.dialects.languages.spice_elements import parts
from bruno_spice.calibration.dialects.powers import power
from bruno_spice.calibration.dialects.waveforms import known
from bruno_spice.calibration.dialects.written import LostError, Written
from bruno_spice.calibration.spice.statements import assignments, split_words
from bruno_spice.calibration.verilog_a.expressions import node, number

LOG = "log, which is log10 in one place and ln in another; write log10 or ln"
LANGUAGE = Language(
    number=re.compile(r"(?P<mantissa>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[A-Za-z_%]*)"),
    scales={
        "": 1.0, "T": 1e12, "G": 1e9, "M": 1e6, "K": 1e3, "k": 1e3, "_": 1.0, "%": 1e-2, "c": 1e-2, "m": 1e-3,
        "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18,
    },
    functions={name: build for name, build in FUNCTIONS.items() if name not in ("log", "sgn")} | {"pow": power},
    constants={
        "M_PI": number(math.pi), "M_TWO_PI": number(2 * math.pi), "M_E": number(math.e), "P_Q": number(1.602176462e-19),
        "P_K": number(1.3806503e-23), "temp": node("name", text="temper"), "$time": node("name", text="time"),
    },
    power=power,
    exact=True,
    refused={"log": LOG, "^": "^, which is an operation on bits", "%": "%, the rest of a division"},
)  # fmt: skip
QUIET = ("save", "print", "export", "check", "shell", "saveOptions", "assert", "statistics")
ANALYSES = (
    "dc", "ac", "noise", "xf", "sp", "stb", "pss", "pac", "pnoise", "pxf", "hb", "hbac", "hbnoise", "envlp", "pz",
    "info", "dcmatch", "acmatch", "sens", "fourier", "tdr", "reliability",
)  # fmt: skip
RUNS = ("sweep", "montecarlo", "alter", "altergroup", "set", "paramset", "checklimit")
OPTIONS = {"reltol": "reltol", "vabstol": "vntol", "iabstol": "abstol", "gmin": "gmin", "temp": "temp", "tnom": "tnom"}
STEPS = 1000
RATHER = {"errpreset", "write", "writefinal", "annotate", "relref", "lteratio", "maxiters", "step", "strobeperiod",
          "strobedelay", "compression", "save", "nestlvl", "oppoint", "cmin"}  # fmt: skip
"""Parameters of ``tran`` about accuracy and printing."""


class Spectre(Masters):
    """A netlist of Spectre."""

    def __init__(self, w: Written) -> None:
        super().__init__(w)
        self.has_tran = False
        self.uic = False
        self.spice = False
        self.depth = 0

    def read(self, path: Path, files: Files) -> None:
        """Translate the netlist at `path`."""
        found = list(self.statements(path, files, ""))
        for act in (self.first_pass, self.statement):
            for code in found:
                self.w.attempt(act, code)
        for code in self.charged if not self.uic else ():
            self.w.lost("ic= without skipdc, which counts at the operating point there and not here; write ic", code)
        self.w.finish()
        if not self.has_tran and found:
            self.w.say("changed", "no transient analysis: add a .tran card before it is simulated", found[-1], "")

    def statements(self, path: Path, files: Files, section: str) -> Iterator[Code]:
        """Statements of the file at `path`, or of a `section` of it, with what they include."""
        within = ""
        for code in joined(files.texts(path, ""), path, _bare):
            word = code.word()
            if word in ("library", "endlibrary"):
                continue
            if word in ("section", "endsection"):
                within = code.text.split()[1] if word == "section" and len(code.text.split()) > 1 else ""
            elif within != section:
                continue
            elif word == "include":
                yield from self.included(code, files)
            else:
                yield code

    def included(self, code: Code, files: Files) -> Iterator[Code]:
        """The statements of the file that `code` asks for."""
        match = re.fullmatch(r"include (?:\"([^\"]*)\"|'([^']*)'|(\S+))(?: section ?= ?\"?([\w.]+)\"?)?", code.text)
        if match is None:
            self.w.lost('write include "FILE", or include "FILE" section=NAME', code)
            return
        section = match[4] or ""
        found = files.beside(match[1] or match[2] or match[3] or "", code)
        why = found if isinstance(found, str) else files.inside(found, section, code)
        if why or isinstance(found, str):
            self.w.lost(why, code)
            return
        yield from self.statements(found, files, section)
        files.open.pop()

    def first_pass(self, code: Code) -> None:
        """Learn of ground, models, subcircuits and functions."""
        words = split_words(code.text.replace("(", " ").replace(")", " "))
        if words[:1] == ["global"] and len(words) > 1:
            self.w.ground = {"0", words[1]}
        elif words[:1] == ["model"] and len(words) > 2:
            with contextlib.suppress(LostError):  # what is said of it in the second pass
                name, kind, _ = self.model(code)
                self.models[name] = kind
        elif words[:1] == ["subckt"] and len(words) > 1:
            self.subcircuits.add(words[1])
        elif match := re.fullmatch(r"real (\w+) ?\(([^()]*)\) ?\{ ?return ([^;{}]+);? ?\}", code.text):
            names = tuple(part.split()[-1] for part in match[2].split(",") if part.strip())
            self.w.reader.functions[match[1]] = (names, match[3])

    def statement(self, code: Code) -> None:
        """Write one statement. Raises `LostError`."""
        word = code.text.split(" ", 1)[0]
        if word == "simulator":
            self.spice = bool(re.search(r"lang ?= ?spice", code.text))
            if self.spice:
                raise LostError("what follows is in the language of SPICE; give it as a file of its own")
            return
        if self.spice:
            raise LostError("in the language of SPICE")
        if self.depth or code.text.endswith("{"):
            self.depth += code.text.count("{") - code.text.count("}")
            raise LostError("within a block of several statements")
        act = getattr(self, f"card_{word}", None)
        if word in QUIET:
            self.w.left_out("printing, saving, checking or commands of its own")
        elif act is not None:
            act(code)
        else:
            self._called(code)

    def _called(self, code: Code) -> None:
        """``name (nodes) master parameters``, of a circuit or an analysis."""
        text = code.text
        bracket = re.match(r"(\S+) ?\(([^()]*)\) ?(.*)", text)
        if bracket and not re.match(r"\S+ ?=", text):
            name, nodes, rest = bracket[1], bracket[2].split(), bracket[3]
            head = parts(rest)[0]
        else:
            head, rest = parts(text)[0], text
            if len(head) < 2:
                raise LostError("neither an element nor a statement that is known")
            name, *nodes = head[:-1]
            head = head[-1:]
        if len(head) != 1:
            raise LostError("an element without one master")
        given = {n: rest[i:j] for n, i, j in assignments(rest)}
        master = head[0]
        if master == "tran" and not nodes:
            self.tran(given)
        elif master == "options":
            self.options(given)
        elif master in QUIET or (master in ANALYSES and not nodes):
            analysis = master in ANALYSES and master != "info"
            self.w.left_out("another analysis; bruno simulates tran" if analysis else "printing and saving")
        elif master in RUNS:
            raise LostError(f"{master}, which runs the circuit again with changes")
        else:
            self.element(name, nodes, master, given)

    def card_parameters(self, code: Code) -> None:
        """Parameters of the netlist, or of the subcircuit, which an instance may give otherwise."""
        found = list(assignments(code.text))
        if len(parts(code.text)[0]) > 1 or not found:
            raise LostError("a parameter without a value")
        w = self.w
        for name, start, stop in found:
            if len(w.open) == 1:
                w.param(name, code.text[start:stop])
            else:
                ours = w.parameters.of(name).lower()
                w.set.add(ours)
                w.here.parameters[ours] = w.value(code.text[start:stop])

    def card_global(self, code: Code) -> None:
        """Ground first, then nodes that every subcircuit has."""
        names = [name for name in (self.w.node(word) for word in code.text.split()[1:]) if name != "0"]
        if names:
            self.w.card(f".global {' '.join(names)}")

    def card_subckt(self, code: Code) -> None:
        """The beginning of a subcircuit."""
        words = code.text.replace("(", " ").replace(")", " ").split()
        self.w.begin(words[1] if len(words) > 1 else "", words[2:], [])

    def card_ends(self, code: Code) -> None:
        """The end of one."""
        self.w.end()

    def card_real(self, code: Code) -> None:
        """A function, which stands written out wherever it is used."""
        if not any(code.text.startswith(f"real {name}") for name in self.w.reader.functions):
            raise LostError("a function of more than one return")

    def card_inline(self, code: Code) -> None:
        """An inline subcircuit stands for a model of its own name."""
        self.w.begin(code.word(2), [], [])
        raise LostError("an inline subcircuit")

    def card_if(self, code: Code) -> None:
        """What holds under conditions."""
        raise LostError("a condition")

    def card_ahdl_include(self, code: Code) -> None:
        """Verilog-A of another hand."""
        raise LostError("a Verilog-A file; bruno va check FILE says what it needs")

    def card_ic(self, code: Code) -> None:
        """Voltages to start from."""
        self._starts(code, ".ic")

    def card_nodeset(self, code: Code) -> None:
        """A guess at the operating point."""
        self._starts(code, ".nodeset")

    def _starts(self, code: Code, card: str) -> None:
        texts = []
        for match in re.finditer(r"(\S+?) ?= ?(\S+)", code.text.partition(" ")[2]):
            texts.append(f"v({self.w.node(match[1])})={self.w.value(match[2])}")
        if texts:
            self.w.card(f"{card} {' '.join(texts)}")

    def options(self, given: dict[str, str]) -> None:
        """Tolerances and temperatures; the rest concerns accuracy and printing."""
        for name, text in given.items():
            if name in OPTIONS:
                self.w.card(f".options {OPTIONS[name]}={self.w.value(text)}")
            elif name == "scale" and known(self.w.formula(text)) != 1:
                self.w.lost("the option scale, which scales devices")
        others = [name for name in given if name not in OPTIONS]
        if others:
            self.w.left_out(f"options of accuracy and printing: {' '.join(others)[:60]}")

    def tran(self, given: dict[str, str]) -> None:
        """The transient analysis; only one can be had."""
        w = self.w
        if self.has_tran:
            w.left_out("a second transient analysis; the first one counts")
            return
        for name, text in given.items():
            if name in ("start",) and known(w.formula(text)) != 0:
                raise LostError("a transient analysis that begins later than 0 s")
            if name == "method" and not re.match(r"(trap|gear2|traponly|gear2only|trapgear2)\b", text.strip('"')):
                raise LostError(f"the method {text[:20]}")
            if name not in {"stop", "start", "maxstep", "outputstart", "skipdc", "ic", "method", *RATHER}:
                raise LostError(f"{name}= of a transient analysis")
        if "stop" not in given:
            raise LostError("a transient analysis without its end")
        stop_s = known(w.formula(given["stop"]))
        if stop_s is not None and stop_s <= 0:
            raise LostError("an analysis that ends at 0 s")
        stop = w.value(given["stop"])
        words = [w.value(repr(stop_s / STEPS)) if stop_s else f"{{({stop.strip('{}')})/{STEPS}}}", stop]
        if "outputstart" in given or "maxstep" in given:
            words.append(w.value(given.get("outputstart", "0")))
        if "maxstep" in given:
            words.append(w.value(given["maxstep"]))
        self.uic = given.get("skipdc", "no").strip('"') != "no"
        w.card(f".tran {' '.join(words)}{' uic' if self.uic else ''}")
        self.has_tran = True
        if ignored := [name for name in given if name in RATHER]:
            w.left_out(f"accuracy and printing of the analysis: {' '.join(ignored)}")


def _bare(text: str) -> str:
    bare = text.strip()
    if bare.startswith("*"):
        return ""
    quoted = False
    for index, char in enumerate(bare):
        quoted ^= char == '"'
        if not quoted and bare.startswith("//", index):
            return bare[:index].strip()
    return bare


def recognises(head: Sequence[str]) -> bool:
    """By its word for the language, or by elements that are written as in Spectre alone."""
    text = "\n".join(head)
    marks = (r"^simulator +lang *= *spectre", r"^\w+ *\([^()]*\) *(resistor|capacitor|inductor|vsource|isource)\b")
    return any(re.search(mark, text, re.MULTILINE) for mark in marks)


def translate(path: Path, files: Files) -> Written:
    """The netlist at `path`."""
    w = Written(LANGUAGE)
    Spectre(w).read(path, files)
    return w


SPECTRE = Dialect("Spectre", recognises, translate)
