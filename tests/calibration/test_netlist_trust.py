"""A netlist from anywhere describes a circuit and does nothing else: no command, no file, no other number."""

import time

import pytest
from netlist_cases import workshop

from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST
from bruno_spice.calibration.errors import CalibrationError, NetlistError
from bruno_spice.calibration.spice.faults import refuse_faults
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.source_text import MAX_FILE_BYTES
from bruno_spice.calibration.targets.inspection import check

RC = "* rc\nV1 a 0 DC 1\nR1 a b 1k\nC1 b 0 1u\n.tran 10u 1m\n"


@pytest.fixture
def decks(tmp_path, monkeypatch):
    """A folder of decks, the working folder too, in which a command that runs leaves PWNED."""
    folder = workshop(tmp_path)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def deck(tmp_path, monkeypatch):
    """An RC circuit with more lines behind it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.inc").write_text("* evil\n.control\nshell touch PWNED\n.endc\nR9 b 0 10k\n")

    def write(*lines):
        path = tmp_path / "deck.cir"
        path.write_text(RC + "".join(f"{line}\n" for line in lines) + ".end\n")
        return path

    return write


def job(path):
    return transient_job(Netlist.load(path), ["v(b)"], None)


REFUSED = [
    ("*# shell touch PWNED", "would run '*# shell touch pwned' as a command"),
    ("  *#shell touch PWNED", "as a command"),
    ("*#source evil2.txt", "as a command"),
    ("*#pre_shell touch PWNED", "as a command"),
    ("*NG_SCRIPT", "makes ngspice run the file as commands"),
    (".exec touch PWNED", "there is no card '.exec'"),
    (".osdi x.osdi", "there is no card '.osdi'"),
    (".codemodel x.cm", "there is no card"),
    (".pre_osdi x", "there is no card"),
    (".step param r 1 2 1", "there is no card '.step'"),
    (".param x={agauss(1, 0.1, 3)}", "agauss draws at random"),
    (".param x='2*UNIF (1, 0.1)'", "unif draws at random"),
    ("R2 b 0 r={limit(1k, 10)}", "limit draws at random"),
    ("I2 b 0 trnoise(1n 1u 0 0)", "trnoise draws at random"),
    ("@", "begins with a letter"),
    ("=x", "begins with a letter"),
    ("R2 b 0 {`touch PWNED`}", "back quote"),
    ('.model m filesource (file="/etc/passwd")', "models of type 'filesource'"),
    ('.model m d_source(input_file="x")', "models of type 'd_source'"),
    (".model m\n+ d_state (state_file=x)", "models of type 'd_state'"),
    (".model m table2d (file=x)", "models of type 'table2d'"),
    (".model m d_process (process_file=x)", "models of type 'd_process'"),
    (".model m numos", "models of type 'numos'"),
    (".options ngdebug", "there is no option 'ngdebug'"),
    (".options reltol=1e-4 sourcepath=/tmp", "there is no option 'sourcepath'"),
    (".option noparse", "there is no option 'noparse'"),
    (".control\nrun", r".control without .endc"),
    (".lib tt\nR9 b 0 1k\n.endl", "write .lib FILE SECTION"),
    (".include", "write .include FILE"),
    (".include\n+ evil.inc", "write .include FILE"),
    (".incl /dev/zero", "is not a file"),
    (".include /dev/stdin", "is not a file"),
    (".include .", "is not a file"),
]


@pytest.mark.parametrize(("line", "says"), REFUSED, ids=[line.split("\n")[0] for line, _ in REFUSED])
def test_what_could_act_is_refused_by_name_and_line(deck, tmp_path, line, says):
    with pytest.raises(NetlistError) as refused:
        Netlist.load(deck(line))
    assert str(refused.value).startswith(f"{tmp_path / 'deck.cir'}:6: ")
    assert says in str(refused.value)


@pytest.mark.parametrize("define", [".func limit(x, top) {min(x, top)}", ".param limit(x, top)={min(x, top)}"])
def test_a_function_of_ones_own_may_have_the_name_of_one_that_draws(deck, define):
    assert Netlist.load(deck(define, ".param y={limit(3, 2)}")).params["y"].value == 2.0


def test_a_function_of_ones_own_counts_where_it_is_defined(deck):
    own = [".subckt s p n", ".func agauss(x, y, z) {x}", "R9 p n {agauss(1k, 1, 1)}", ".ends", "X1 b 0 s"]
    Netlist.load(deck(*own))
    with pytest.raises(NetlistError, match=r"deck.cir:11: agauss draws at random"):
        Netlist.load(deck(*own, ".param y={agauss(1, 0.1, 3)}"))


def test_a_model_may_be_of_a_type_called_as_a_function_that_draws(deck):
    Netlist.load(deck("A1 b c lim", ".model lim limit(in_offset=0 gain=2 out_upper_limit=1.5)", "R9 c 0 1k"))
    with pytest.raises(NetlistError, match=r"deck.cir:7: unif draws at random"):
        Netlist.load(deck("A1 b c lim", ".model lim limit(gain={unif(2, 0.1)})", "R9 c 0 1k"))


@pytest.mark.parametrize("spelled", [".include", ".inc", ".incl", ".INCLUDES", "  .Incl", ".inc_x", "\t.include"])
def test_every_spelling_of_an_include_is_written_out_without_its_commands(deck, tmp_path, spelled):
    text = job(deck(f"{spelled} evil.inc")).deck
    assert "R9 b 0 10k\n" in text
    assert "shell" not in text
    assert ".inc" not in text.lower()
    check(tmp_path / "deck.cir")
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "line",
    ["* # shell x", "*####", "*#===#", "# words", "$ words", "; words", ".save v(b)", ".print tran v(b)", ".op",
     ".meas tran x find v(b) at=1u", ".csparam x={1}", ".backanno", ".title other", ".probe alli", ".option post list",
     ".control\nshell touch PWNED\n.endc", ".end", "", "   "],
)  # fmt: skip
def test_comments_and_what_is_for_runs_by_hand_do_not_reach_ngspice(deck, line):
    assert job(deck(line)).deck == job(deck()).deck
    assert job(deck(line)).key("39") == job(deck()).key("39")


def test_no_case_runs_its_command(decks, bruno):
    for path in sorted(decks.glob("hostile_*.cir")):
        bruno("netlist", "check", path)
    for name in ("hostile_star_hash.cir", "hostile_starhash_src.cir", "hostile_incl.cir"):
        for command in ("calibrate", "vary"):
            for device in ("neuron", "rram"):
                assert bruno(command, device, "--netlist", decks / name)[0] == 2
    for path in sorted(decks.glob("hostile_*hash*.cir")):
        code, _, err = bruno("simulate", "neuron", "--engine", "spice", "--dc", "1n", "--netlist", path)
        assert code == 2
        assert f"{path}:6: ngspice would run" in err
    assert not list(decks.rglob("PWNED"))


def test_a_comment_that_acts_cannot_change_what_the_plain_deck_gives(decks):
    with pytest.raises(NetlistError, match=r"hostile_u_alter.cir:40: ngspice would run '\*#alter clim=20f'"):
        Netlist.load(decks / "hostile_u_alter.cir")
    untouched = Netlist.load(RRAM_NETLIST)
    assert "alter" not in transient_job(untouched, ["v(ae)"], 1e-6).deck


def test_an_edited_include_is_another_job(decks):
    def key():
        return transient_job(Netlist.load(decks / "hostile_u_incl.cir"), ["v(ae)"], 1e-6).key("39")

    before = key()
    (decks / "p.inc").write_text(".param clim=20f\n")
    assert key() != before
    assert Netlist.load(decks / "hostile_u_incl.cir").params["clim"].value == 20e-15


def test_of_two_models_or_circuits_of_one_name_neither_is_taken(deck):
    for first, second in (
        (".model m d (is=1f)", ".model M d (is=2f)"),
        (".subckt s a\nR1 a 0 1k\n.ends", ".subckt s a\nR1 a 0 2k\n.ends"),
        (".func f(x) {x}", ".func f(x) {2*x}"),
    ):
        with pytest.raises(NetlistError, match=r"another one than at .*:6; ngspice would take the first"):
            Netlist.load(deck(first, second))
        assert Netlist.load(deck(first, first)).text


def test_a_deck_whose_first_line_would_not_count_is_refused(tmp_path):
    path = tmp_path / "deck.cir"
    path.write_text(f".param r=1k\n{RC}")
    with pytest.raises(NetlistError, match=r"deck.cir:1: ngspice takes the first line for a title"):
        Netlist.load(path)


def test_includes_without_end_are_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.inc").write_text(f"* {name}\n.include {other}.inc\n")
    (tmp_path / "deck.cir").write_text(f"{RC}.include a.inc\n")
    with pytest.raises(NetlistError, match="includes itself"):
        Netlist.load(tmp_path / "deck.cir")
    for k in range(30):
        (tmp_path / f"c{k}.inc").write_text(f".include c{k + 1}.inc\n")
    (tmp_path / "deck.cir").write_text(f"{RC}.include c0.inc\n")
    with pytest.raises(NetlistError, match="more than 20 files that include one another"):
        Netlist.load(tmp_path / "deck.cir")
    for k in range(8):
        (tmp_path / f"d{k}.inc").write_text(f".include d{k + 1}.inc\n" * 10)
    (tmp_path / "d8.inc").write_text("* bottom\n")
    (tmp_path / "deck.cir").write_text(f"{RC}.include d0.inc\n")
    with pytest.raises(NetlistError, match="more than 1000 included files"):
        Netlist.load(tmp_path / "deck.cir")
    (tmp_path / "long.inc").write_text("* a\n" * 100_000)
    (tmp_path / "deck.cir").write_text(f"{RC}.include long.inc\n.include long.inc\n")
    with pytest.raises(NetlistError, match="more than 200,000 lines"):
        Netlist.load(tmp_path / "deck.cir")
    (tmp_path / "large.inc").write_bytes(b"*\n" * (MAX_FILE_BYTES // 2 + 1))
    (tmp_path / "deck.cir").write_text(f"{RC}.include large.inc\n")
    with pytest.raises(NetlistError, match=r"deck.cir:6: .*large.inc has more than 8 MiB"):
        Netlist.load(tmp_path / "deck.cir")


ODD = {
    "a word of 60 kB": "a" * 60_000,
    "60 kB of name": "R2 b 0 " + "x" * 60_000 + "=1",
    "a row of commas": "R2 b 0 " + "," * 100_000,
    "commas apart": ".param r=1" + " ," * 100_000,
    "many names": ".param " + "a " * 50_000,
    "many equals": ".param " + "a=1 " * 20_000,
    "only equals": ".param " + "= " * 50_000,
    "open braces": ".param r=" + "{ " * 50_000,
    "open parentheses": "B1 b 0 I=" + "( " * 50_000,
    "quotes": ".param r=" + "' " * 50_001,
    "digits": ".param r=" + "9" * 3_900,
    "an exponent": ".param r=1e" + "9" * 3_900,
    "continuations": "R2 b 0 1k\n" + "+ +\n" * 20_000,
    "comments between": "R2 b 0\n" + "* x\n" * 50_000 + "+ 1k",
    "blanks": "R2 b 0" + " " * 500_000 + "1k",
    "dollars": "R2 b 0 1k" + " x$" * 50_000,
    "nested circuits": "".join(f".subckt s{k} a\n" for k in range(3_000)) + ".ends\n" * 3_000,
    "plus": "+ + +",
    "bare .subckt": ".subckt",
    "bare .ends": ".ends",
    "bare .model": ".model",
    "bare .param": ".param",
    "bare .options": ".options",
    "bare .tran": ".tran",
    "bare dot": ".",
    "bare letter": "x",
    "an open circuit": ".subckt s a",
    "a zero byte": "R2 b 0 1\0k",
    "a line separator": "R2 b 0 1k\u2028.include x",
    "old ends of line": "R2 b 0 1k\r.include x",
    "an escape": "R2 b 0 1k \x1b[31m",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_text_is_one_sentence_within_a_second(deck, name):
    path = deck(ODD[name])
    started = time.process_time()
    said = _refusal(path)
    assert time.process_time() - started < 1.0
    assert said.isprintable()
    assert len(said) < 600


def _refusal(path):
    """Read everything of a deck; what is said against it, or nothing."""
    try:
        netlist = Netlist.load(path)
        refuse_faults(netlist)
        _ = netlist.subcircuits, netlist.declarations, netlist.nodes, netlist.text
        netlist.with_tran(1e-3)
    except CalibrationError as error:
        return str(error)
    return ""
