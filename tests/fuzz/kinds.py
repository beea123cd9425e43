"""What is fuzzed: for each kind of file its seeds, whole lines that it could carry, and how it is read.

Files go through the commands themselves where that is quick, else through the function with which the command reads
them. Each returns the exit code and what was printed; `Believed` is raised where a changed number was taken for good.
Files of testers are in `testers`.
"""

import os
import random
import shutil
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from kind import CASES, ROOT, Believed, Kind, Outcome, bruno, called, written
from testers import TESTERS

CARDS = ROOT / "data" / "calibrated"
NETLISTS = ROOT / "spice_netlists"


def _card(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    path = written(folder, "card.json", data)
    felif = b'"felif"' in data[:400].lower()
    commands = [
        ("card", "check", path),
        ("card", "show", path),
        ("card", "diff", path, CARDS / ("felif.json" if felif else "rram.json")),
        ("card", "export", path, "--out", folder / "exported"),
        ("simulate", "neuron", "--card", path, "--dc", "20n", "--t-stop", "1m", "--out", folder / "trace.csv")
        if felif
        else ("simulate", "rram", "--card", path, "--i-prog", "60u"),
    ]
    return bruno(*rng.choice(commands))


@cache
def _stimuli() -> list[bytes]:
    from bruno_spice.devices.stimulus import Stimulus

    steps = Stimulus.steps(np.random.default_rng(0).normal(5e-9, 4e-9, 4)).to_csv_text()
    return [steps.encode(), Stimulus.dc(2e-8).to_csv_text().encode(), b"time_s,i_syn_a\n0,0\n1e-4,5e-9\n3e-3,5e-9\n"]


def _stimulus(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    path = written(folder, "stimulus.csv", data)
    return bruno("simulate", "neuron", "--stimulus", path, "--t-stop", "2m", "--out", folder / "trace.csv")


@cache
def _tables() -> list[bytes]:
    text = (CASES / "fecap" / "loop.csv").read_text()
    german = text.replace(",", ";").replace(".", ",")
    framed = "Sample: HZO\nArea [um2],25\n\n" + text.replace("\n", "\nus,V,uC/cm2\n", 1) + "End of data\n"
    return [text.encode(), german.encode("utf-16"), framed.encode("latin-1"), text.replace(",", "\t").encode()]


def _table(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.calibration.fecap.measurement import Columns, read_measurement

    columns = Columns("t", "v", "q", "charge", "us", "V", "uC/cm2")
    return called(lambda: read_measurement(written(folder, "measured.csv", data), columns, None))


def _dialect(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """A table written in another way must give the same numbers, or be refused."""
    from bruno_spice.devices.tables import read_table

    text = data.decode()
    base = np.array([row.split(",") for row in text.split()[1:]], dtype=float)
    delimiter = rng.choice(",;\t|  ")
    text = text.replace(",", delimiter)
    if rng.random() < 0.3:
        text = text.replace(".", ",")
    rows = text.splitlines()
    for _ in range(rng.randrange(4)):
        at = rng.choice((0, 1, len(rows), rng.randrange(len(rows))))
        rows.insert(at, rng.choice(("", "# note", "Sample: 12", "us;V;uC/cm2", "us,V,uC/cm2", "1,2", "end", "a,b,c,d")))
    text = rng.choice(("\n", "\r\n", "\r")).join(row + rng.choice(("", delimiter, " ")) for row in rows)
    path = written(folder, "measured.csv", text.encode(rng.choice(("utf-8", "utf-16", "utf-8-sig", "cp1252"))))

    def compare() -> None:
        found = read_table(path, ["t", "v", "q"])
        got = np.stack(list(found.columns.values()), axis=1)
        if got.shape != base.shape or not np.array_equal(got, base):
            raise Believed(f"{got.shape} numbers for {base.shape}, or others")

    return called(compare)


def _wave(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.devices.waveform import Waveform

    path = written(folder, "trace.csv", data)
    if rng.random() < 0.3:
        written(folder, "trace.spikes.csv", data)
    return called(lambda: Waveform.from_csv(path))


def _yamls(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def _config(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.training.networks.config_file import load_config
    from bruno_spice.training.runs.folder import Cards

    path = written(folder, "config.yaml", data)
    return called(lambda: Cards.of(load_config(path)))


SWEEP = b"""task: pulses
seeds: [0, 1]
settings: {training.epochs: 1, network.hidden: [4]}
grid: {network.neuron: [felif, lif], synapse.bits: [3, 8]}
"""
SEARCH = b"task: pulses\nsearch: {training.learning_rate: {low: 1e-3, high: 1e-2, log: true}}\ntrials: 2\n"


def _sweep(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.training.studies.sweep import load_sweep

    path = written(folder, "sweep.yaml", data)
    return called(lambda: load_sweep(path).check())


def _variation(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.calibration.spice.variation import Variation

    path = written(folder, "rram.variation.yaml", data)
    return called(lambda: Variation.load(path))


@cache
def _run_folder() -> tuple[Path, str]:
    """A small trained run, made once a process, and what `bruno evaluate` says of it."""
    folder = Path(os.environ["FUZZ_FOLDER"]) / f"run-{os.getpid()}"
    settings = ["network.hidden=[4]", "training.epochs=1", "task_options={trials: 24}", "synapse.read_noise=false"]
    made = bruno("train", "--task", "pulses", *(f"--set={each}" for each in settings), "--out", folder)
    if made.code != 0:
        raise RuntimeError(f"the run to damage could not be made: {made.err}")
    return folder, _scores(bruno("evaluate", folder, "--json").out)


def _scores(text: str) -> str:
    return "".join(line for line in text.splitlines() if '"run"' not in line)


RUN_FILES = (
    "config.yaml", "cards/felif.json", "cards/rram.json", "result.json", "metrics.jsonl", "best.safetensors",
    "checkpoint.safetensors", "checkpoint.json",
)  # fmt: skip


def _run(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """One file of a run is damaged: `data` begins with the number of the file."""
    from mutate import mutated

    whole, scores = _run_folder()
    run_folder = folder / "run"
    shutil.copytree(whole, run_folder)
    name = rng.choice(RUN_FILES)
    before = (run_folder / name).read_bytes()
    after = mutated(before, rng, list(YAML_LINES), os.environ["FUZZ_CANARY"])
    (run_folder / name).write_bytes(after)
    commands = (("evaluate", run_folder, "--json"), ("report", run_folder), ("train", "--out", run_folder, "--resume"))
    command = rng.choice(commands[:2] if rng.random() < 0.9 else commands)
    found = bruno(*command)
    changed = name.endswith("best.safetensors") and after != before
    if changed and command[0] == "evaluate" and found.code == 0 and _scores(found.out) != scores:
        raise Believed(f"{name} changed, and evaluate gave other scores")
    return found


def _store(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from mutate import mutated

    from bruno_spice.calibration.spice.store import Store
    from bruno_spice.devices.waveform import Waveform

    store = Store(folder / "kept")
    wave = Waveform(np.linspace(0, 1, 20), {"v(a)": np.random.default_rng(1).normal(size=20)})
    keys = ["a" * 64, "b" * 64]
    for key in keys:
        store.put(key, wave, "a job")
    path = store.kept.path(keys[0])
    path.write_bytes(mutated(path.read_bytes(), rng, [], os.environ["FUZZ_CANARY"]))
    if rng.random() < 0.2:
        shutil.copy(store.kept.path(keys[1]), path)
    list(store.entries())
    found = store.get(keys[0])
    if found is not None and not (
        np.array_equal(found.time_s, wave.time_s) and np.array_equal(found["v(a)"], wave["v(a)"])
    ):
        raise Believed("another waveform")
    return Outcome(0, "", "")


def _fit(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from mutate import mutated

    from bruno_spice.calibration.fitting.memo import remembered

    truth = {"alpha": 1.299, "ea": [1.4, 0.2]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRUNO_CACHE", str(folder / "kept"))
        remembered(["inputs"], lambda: truth)
        for path in (folder / "kept").rglob("*.fit"):
            path.write_bytes(mutated(path.read_bytes(), rng, [], os.environ["FUZZ_CANARY"]))
        if (found := remembered(["inputs"], lambda: truth)) != truth:
            raise Believed(f"{found}")
    return Outcome(0, "", "")


@cache
def _pickles() -> list[bytes]:
    import pickle

    plain = {"taps": [[1, 2.5], [3, 4.5]], "letter": "a", "grid": np.arange(6.0).reshape(2, 3)}
    commands = [
        b"cos\nsystem\n(S'touch CANARY'\ntR.",
        b"\x80\x04\x95 \0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch CANARY\x85R.",
    ]
    return [pickle.dumps(plain, protocol) for protocol in (2, 4, 5)] + commands


def _pickle(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    from bruno_spice.training.tasks.pickles import read_pickle

    return called(lambda: read_pickle(written(folder, "data.pkl", data)))


@cache
def _netlists() -> list[bytes]:
    out = []
    for path in sorted(NETLISTS.glob("testbenches/*.cir")):
        out.append(path.read_bytes().replace(b"../", f"{NETLISTS}/".encode()))
    return [*out, b"* rc\n.param r=1k\nR1 in out {r}\nC1 out 0 1n\nV1 in 0 PWL(0 0 1n 1)\n.tran 100n 5u 0 100n\n.end\n"]


def _netlist(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    path = written(folder, "deck.cir", data)
    written(folder, "inner.inc", b".control\nshell touch " + os.environ["FUZZ_CANARY"].encode() + b"\n.endc\n")
    if rng.random() < 0.1:
        return bruno("simulate", "rram", "--engine", "spice", "--i-prog", "50u", "--netlist", path)
    return bruno("netlist", "show" if rng.random() < 0.5 else "check", path)


@cache
def _models() -> list[bytes]:
    return [path.read_bytes() for path in sorted(NETLISTS.glob("veriloga/*.va"))] + [VERILOGA]


def _veriloga(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """Read, checked, and a deck written around it; the compiler, a program of its own, has no part in it."""
    from bruno_spice.calibration.circuits.around import fecap_deck, neuron_around, rram_deck
    from bruno_spice.calibration.verilog_a.foreign.checking import check
    from bruno_spice.calibration.verilog_a.foreign.declared import read_modules

    path = written(folder, "model.va", data)
    read = called(lambda: (read_modules(path), check(path)))
    deck = rng.choice((fecap_deck, neuron_around, rram_deck))
    return called(lambda: deck(path).declarations) if read.code == 0 else read


VERILOGA = b"""`include "disciplines.vams"
`define D(x, y) ((x) + (y))
`ifdef OFF
garbage
`else
module m(a, b); inout a, b; electrical a, b; parameter real r = 1k from (0:inf); real x[0:3]; integer i, n;
analog function real f; input x; output y; real x, y; begin f = x; y = x; end endfunction
analog begin : all @(initial_step) n = 3; for (i = 0; i < 4; i = i + 1) n = n + 1;
case (n) 1: n = 2; default: n = 3; endcase if (V(a) > 0) begin x = `D(1, n); end I(a, b) <+ V(a, b)/r; end
endmodule
`endif
"""
VERILOGA_LINES = (
    b'`include "/dev/zero"', b'`include "model.va"', b"`include", b"`define A `A", b"`define B(x) `B(x) `B(x)", b"`A",
    b"`B(1)", b"`ifdef", b"`else", b"`endif", b"begin", b"end", b"module", b"endmodule", b"analog", b"((((((", b"))))",
    b"if (" * 2000, b"begin " * 3000, b"case (x)", b"endcase", b"real x;", b"@(cross(V(a)))", b"/*", b'"', b"(*",
    b"*)", b"parameter", b"parameter real", b"analog function", b"for (;;)", b"\\",
)  # fmt: skip
YAML_LINES = (
    b"task: os:system", b"task: /tmp/none.py:load", b"a: &a [1]\nb: [*a, *a]", b"seed: 1\nseed: 2", b"? [1]\n: 2",
    b"x: !!python/name:os.system", b"task_options: {trials: 99999999999999999999}", b"- 1", b"%YAML 9.9", b"---",
)  # fmt: skip


@cache
def _decks() -> list[bytes]:
    return [path.read_bytes() for path in sorted((CASES / "decks").iterdir())]


def _deck(folder: Path, data: bytes, rng: random.Random) -> Outcome:
    """A deck of another simulator: what comes out of it must pass the door of netlists."""
    from bruno_spice.calibration.spice.netlist import Netlist

    path, out = written(folder, "deck.net", data), folder / "imported.cir"
    known = rng.choice(((), *(("--from", name) for name in ("ltspice", "hspice", "spectre"))))
    outcome = bruno("netlist", "import", path, "--out", out, "--partial", *known)
    if out.exists():
        Netlist.load(out).statements  # noqa: B018
    return outcome


NETLIST_LINES = (
    b"*# shell touch CANARY", b"*#shell touch CANARY", b"*# source inner.inc", b".control", b"shell touch CANARY",
    b".control\nshell touch CANARY\n.endc", b".include inner.inc", b".incl inner.inc", b".inc 'inner.inc'",
    b".INCLUDE \"inner.inc\"", b"+ inner.inc", b".lib inner.inc tt", b".lib deck.cir", b".include deck.cir", b".subckt",
    b".ends", b".param", b".param x={y}", b".param y={x}", b".func f(x) {f(x)}", b".csparam a={1}",
    b".option seed=random", b".model", b".tran", b".tran 1 1e30", b".save all", b".backanno", b".macro m 1 2", b".eom",
    b"B1 0 1 V={system(1)}", b"A1 [1 2] 3 xspice", b".exec touch CANARY", b".system touch CANARY", b".end", b".if (1)",
    b".pre_osdi CANARY", b"pre_osdi CANARY", b"* " + b"x" * 60_000, b".title `touch CANARY`", b".alter", b".probe",
    b"R1 1 0 {" + b"(" * 3000 + b"1" + b")" * 3000 + b"}", b"*#alter r1=2", b".echo x > CANARY", b".include /dev/zero",
    b".measure tran a FIND v(a) AT=1",
)  # fmt: skip

DECK_LINES = (
    b"sh shell cmd=\"touch CANARY\"", b"include \"/etc/passwd\"", b"simulator lang=spice", b"ahdl_include \"CANARY\"",
    b"if (1) {", b"}", b"parameters x=x", b"parameters y=1M%", b"global", b"ends", b"subckt a (b c)", b"ic a=1 x1.b=2",
    b"real f(real x) { return f(x); }", b"B1 (a 0) bsource v=f(1)", b"V1 (a 0) vsource type=pwl wave=[0 0 0 1]",
    b"V9 a 0 PULSE(0 1 0 0 0 1 2 99999)", b"E9 a 0 POLY(99) " + b"a 0 " * 99 + b"1 " * 300, b".step param r 1 2 1",
    b"V9 a 0 PWL(0 0 1 1 1 2 0 3)", b".lib 'deck.net' tt", b"R9 a 0 1" + b"0" * 400, b"K1 L1 L1 2", b"m1 a b c d e f g",
    b"X1 a b c d m=2 r={V(a)}", b"E1 a 0 VOL='1/0'", b".param f(x)='f(x)*f(x)' a='f(1)'", b".tran 0", b".tran -1 -1",
)  # fmt: skip

KINDS: dict[str, Kind] = {
    "card": Kind(0.14, lambda: [(CARDS / f"{name}.json").read_bytes() for name in ("felif", "rram")], _card),
    "stimulus": Kind(0.12, _stimuli, _stimulus),
    "table": Kind(0.12, _tables, _table),
    **TESTERS,
    "dialect": Kind(0.08, lambda: [(CASES / "fecap" / "loop.csv").read_bytes()], _dialect),
    "waveform": Kind(0.06, lambda: [b"time_s,v_mem_v,spike\n0,0,0\n1e-3,2.5,1\n2e-3,0.1,0\n", *_stimuli()], _wave),
    "config": Kind(0.12, lambda: _yamls("training/configs/*.yaml"), _config, YAML_LINES),
    "sweep": Kind(0.06, lambda: [SWEEP, SEARCH], _sweep, YAML_LINES),
    "variation": Kind(0.06, lambda: _yamls("spice_netlists/testbenches/*.variation.yaml"), _variation, YAML_LINES),
    "run": Kind(0.06, lambda: [b""], _run),
    "store": Kind(0.06, lambda: [b""], _store),
    "fit": Kind(0.06, lambda: [b""], _fit),
    "pickle": Kind(0.02, _pickles, _pickle),
    "netlist": Kind(0.04, _netlists, _netlist, NETLIST_LINES),
    "deck": Kind(0.04, _decks, _deck, (*NETLIST_LINES, *DECK_LINES)),
    "veriloga": Kind(0.06, _models, _veriloga, VERILOGA_LINES),
}
UNCHANGED = ("dialect", "run", "store", "fit", "xls")
"""Kinds that do their own changes."""


def prepare(kinds: list[str]) -> None:
    """What is slow the first time: a run to damage, compiled kernels, ngspice."""
    warnings.simplefilter("ignore")
    if "run" in kinds:
        _run_folder()
    if {"card", "stimulus"} & set(kinds):
        bruno("simulate", "neuron", "--dc", "20n", "--t-stop", "1m", "--out", Path(os.environ["FUZZ_FOLDER"]) / "t.csv")
