"""docs/paper.md and docs/where.md: not stale, traceable to commits, computed anew by one command that stops well."""

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import scipy.stats

from bruno_spice.calibration.presentation import style
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.training.commands import paper as cli_paper
from bruno_spice.training.progress import Interrupted
from bruno_spice.training.studies import results as paper_results
from bruno_spice.training.studies.benchmarks import figures as benchmark_plots
from bruno_spice.training.studies.paper import figures as paper_figures
from bruno_spice.training.studies.paper import run as paper_run
from bruno_spice.training.studies.paper.paired import difference
from bruno_spice.training.studies.paper.plan import Experiment, load_plan
from bruno_spice.training.studies.paper.render import DOCUMENTS, figures, stamp, text
from bruno_spice.training.studies.paper.run import Runner
from bruno_spice.training.studies.results import git, load_results

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILES = sorted((DOCS / "results").glob("*.json"))
TEMPLATES = sorted((ROOT / "training" / "studies" / "paper" / "templates").glob("*.j2"))

COMMAND_LINE = '''
"""Stands in for bruno: counts its calls, prints the seed, makes a run folder, fails or waits where told to."""
import json, pathlib, sys, time
seed = int(sys.argv[2])
with open("calls.txt", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "measure" and len(sys.argv) > 3:
    pathlib.Path(sys.argv[3]).mkdir(parents=True)
if sys.argv[1] == "fail":
    sys.exit("error: it would not work")
if sys.argv[1] == "wait":
    time.sleep(60)
print(json.dumps({"test": {"nll": 8.0 + seed}, "wall_time_s": 0.0}))
'''


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with a command line of a page."""
    package = tmp_path / "linked" / "bruno_spice"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "cli.py").write_text(COMMAND_LINE)
    (package / "__main__.py").symlink_to(tmp_path / "training" / "cli.py")
    (tmp_path / ".gitignore").write_text("calls.txt\nruns\n__pycache__\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def commit(folder, *names):
    git(folder, "add", *(names or ["."]))
    identity = ("-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false")
    assert subprocess.run(["git", *identity, "commit", "-qm", "work"], cwd=folder).returncode == 0


def runner(checkout, **options):
    return Runner(checkout / "docs" / "results", Path("runs"), root=checkout, **options)


def calls(checkout):
    path = checkout / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_the_committed_document_is_what_its_result_files_say():
    plan = load_plan()
    drawn = figures(plan, DOCS)
    for document in DOCUMENTS:
        assert (DOCS / document).read_text() == text(plan, DOCS, set(drawn), document), "run: make paper"
    for name, (_, digest) in drawn.items():
        assert stamp(DOCS / "figures" / f"paper_{name}.png") == digest


def digests(plan):
    drawn = figures(plan, DOCS)
    for figure, _ in drawn.values():
        plt.close(figure)
    return {name: digest for name, (_, digest) in drawn.items()}


def test_a_figure_is_stale_once_what_draws_it_or_a_published_number_changes(tmp_path, monkeypatch):
    plan = load_plan()
    before = digests(plan)
    for module in (paper_figures, benchmark_plots, style):
        changed = tmp_path / "changed.py"
        changed.write_text(Path(module.__file__).read_text() + "\n")
        with monkeypatch.context() as patch:
            patch.setattr(module, "__file__", str(changed))
            assert not before.items() & digests(plan).items()
    plan.references["braille"]["3"]["felif"] += 0.1
    assert {name for name, digest in digests(plan).items() if digest != before[name]} == {"bits"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_result_file_names_the_clean_commit_that_made_it(path):
    file, experiment = load_results(path.parent, path.stem), load_plan().experiments[path.stem]
    assert not file.dirty
    assert file.command == experiment.shown
    assert set(file.seeds) <= set(experiment.seeds)
    for run in file.runs:
        assert run.command == f"bruno {' '.join(experiment.words(run.seed, Path('runs/paper') / file.commit[:12]))}"
    if not git(ROOT, "rev-parse", "HEAD"):
        pytest.skip("no git history here")
    assert git(ROOT, "ls-files", str(path)), "not committed"
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "false":
        ancestor = subprocess.run(["git", "merge-base", "--is-ancestor", file.commit, "HEAD"], cwd=ROOT)
        assert ancestor.returncode == 0, f"{file.commit} is not in this history"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_holds_no_result(path):
    prose = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    assert not re.findall(r"\d+\.\d+|\d+ ?%", prose)
    assert not re.findall(r"\d+ ?(?:us|ms|s|mV|MB|GB|MiB)\b", prose)


def test_two_networks_are_held_against_each_other_seed_by_seed():
    one, other = {0: 8.41, 1: 8.46, 2: 8.44, 5: 9.9}, {0: 8.52, 1: 8.55, 2: 8.61}
    found = difference(one, other, -1.0)
    pairs = [[scores[seed] for seed in (0, 1, 2)] for scores in (other, one)]
    interval = scipy.stats.ttest_rel(*pairs).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((0.37 / 3, interval.low, interval.high), rel=1e-9)
    assert (found.seeds, found.verdict, difference(other, one, -1.0).verdict) == (3, "**better**", "worse")
    alone = difference(one, {1: 8.0}, -1.0)
    assert (alone.seeds, alone.verdict) == (1, "not told")
    assert difference(one, {}, -1.0) is None


def test_every_experiment_has_its_first_seed_before_any_has_its_second(checkout):
    told = []
    plan = [Experiment("one", "measure {seed}", [0, 1]), Experiment("two", "measure {seed}", [4, 5])]
    runner(checkout, report=told.append).run(plan)
    done = [line.split(":")[0] for line in told if " seed " in line]
    assert done == ["one seed 0", "two seed 4", "one seed 1", "two seed 5"]


def test_results_carry_command_commit_seeds_and_time(checkout):
    runner(checkout).run([Experiment("one", "measure {seed} {run}", [0, 2])])
    raw = json.loads((checkout / "docs" / "results" / "one.json").read_text())
    head = git(checkout, "rev-parse", "HEAD")
    assert (raw["commit"], raw["dirty"], raw["seeds"]) == (head, False, [0, 2])
    assert raw["command"] == "bruno measure {seed} {run}"
    assert [run["result"]["test"]["nll"] for run in raw["runs"]] == [8.0, 10.0]
    assert raw["runs"][1]["command"] == f"bruno measure 2 runs/{head[:12]}/one-2"
    assert raw["wall_time_s"] == sum(run["wall_time_s"] for run in raw["runs"]) > 0


def test_what_this_code_has_done_is_not_done_again_and_other_code_does_all_of_it(checkout):
    one = Experiment("one", "measure {seed}", [0, 1])
    runner(checkout).run([one])
    (checkout / "notes.md").write_text("prose")
    commit(checkout)
    assert not runner(checkout).wanted(one, again=True)
    (checkout / "training" / "new.py").write_text("")
    commit(checkout)
    later = runner(checkout)
    assert later.wanted(one, again=True)
    assert not later.wanted(one, again=False)
    later.run([one])
    assert len(calls(checkout)) == 4


def test_results_of_other_code_stay_until_there_are_as_many_new_ones(checkout):
    folder = checkout / "docs" / "results"
    runner(checkout).run([Experiment("one", "measure {seed}", [0, 1])])
    before = load_results(folder, "one").commit
    (checkout / "training" / "new.py").write_text("")
    commit(checkout)
    runner(checkout).run([Experiment("one", "measure {seed}", [1])])
    assert load_results(folder, "one").commit == before
    runner(checkout).run([Experiment("one", "measure {seed}", [0, 1])])
    assert load_results(folder, "one").commit != before
    assert [each.split()[1] for each in calls(checkout)] == ["0", "1", "1", "0"]


@pytest.mark.parametrize("differs", ["machine", "versions"])
def test_seeds_of_another_machine_or_other_versions_are_not_filed_under_the_first(checkout, monkeypatch, differs):
    folder, one = checkout / "docs" / "results", Experiment("one", "measure {seed}", [0, 1])
    runner(checkout).run([Experiment("one", "measure {seed}", [0])])
    monkeypatch.setattr(paper_results, differs, lambda: {"processor": "another"})
    runner(checkout).run([one])
    made = load_results(folder, "one")
    assert (getattr(made, differs), made.seeds) == ({"processor": "another"}, [0, 1])
    assert [each.split()[1] for each in calls(checkout)] == ["0", "0", "1"]


def test_what_an_experiment_needs_is_run_first_by_the_same_code(checkout):
    first = Experiment("first", "measure {seed} {run}", [0, 1])
    second = Experiment("second", "read {seed} {runs}/first-{seed}", [1], alone=True, needs=first)
    third = Experiment("third", "read {seed} {runs}/first-{seed}", [1], needs=first)

    def done(*experiments):
        before = len(calls(checkout))
        work = runner(checkout)
        work.run(experiments)
        return [each.removesuffix(f" {work.runs}/first-1") for each in calls(checkout)[before:]]

    assert done(second) == ["measure 1", "read 1"]
    assert done(second, third) == ["read 1"]
    (checkout / "training" / "new.py").write_text("")
    commit(checkout)
    assert done(second, third) == ["measure 1", "read 1", "read 1"]
    shutil.rmtree(checkout / "runs")
    assert done(second) == [], "its result is there, whatever became of the run folder"
    (checkout / "docs" / "results" / "second.json").unlink()
    assert done(second) == ["measure 1", "read 1"]


def test_what_a_need_needs_comes_before_it(checkout):
    card = Experiment("card", "measure {seed} {run}", [0, 1])
    trained = Experiment("trained", "measure {seed} {run}", [0, 1], needs=card)
    scored = Experiment("scored", "read {seed}", [0, 1], needs=trained)
    runner(checkout, jobs=2).run([scored, trained])
    names = [line.rpartition("/")[2] for line in calls(checkout)]
    assert [name.rpartition("-")[0] or "scored" for name in names] == ["card"] * 2 + ["trained"] * 2 + ["scored"] * 2


def test_an_experiment_whose_need_failed_is_not_run(checkout):
    told = []
    plan = [Experiment("good", "read {seed}", [0], needs=Experiment("bad", "fail {seed}", [0]))]
    with pytest.raises(BrunoError, match="runs failed: bad, good"):
        runner(checkout, report=told.append).run(plan)
    assert calls(checkout) == ["fail 0"]
    assert "good failed: it needs bad, whose seed 0 is not there" in told


def test_the_plan_says_what_each_command_needs(tmp_path):
    for experiment in load_plan().experiments.values():
        read = re.findall(r"\{runs\}/(\S+)-\{seed\}", experiment.command)
        assert read == ([experiment.needs.name] if experiment.needs else [])
    plan = tmp_path / "plan.yaml"
    plan.write_text("experiments: {late: {command: read, needs: early}, early: {command: train}}")
    with pytest.raises(InputError, match=r"experiments\.late\.needs: no earlier experiment is called early"):
        load_plan(plan)


def test_code_that_is_not_committed_is_refused_or_owned_up_to(checkout):
    (checkout / "training" / "new.py").write_text("")
    with pytest.raises(InputError, match="files differ from the last commit"):
        runner(checkout)
    runner(checkout, allow_dirty=True).run([Experiment("one", "measure {seed}", [0])])
    assert load_results(checkout / "docs" / "results", "one").dirty


def test_a_failed_run_is_named_and_the_others_are_kept(checkout):
    told = []
    plan = [Experiment("bad", "fail {seed}", [0]), Experiment("good", "measure {seed}", [0, 1])]
    with pytest.raises(BrunoError, match="runs failed: bad"):
        runner(checkout, jobs=2, report=told.append).run(plan)
    assert "bad failed: it would not work" in told
    assert load_results(checkout / "docs" / "results", "good").seeds == [0, 1]


def test_a_stop_ends_the_processes_and_keeps_what_was_done(checkout, monkeypatch):
    monkeypatch.setattr(paper_run, "stop_on_signal", lambda: Stopping())
    work = runner(checkout)
    with pytest.raises(Interrupted):
        work.run([Experiment("quick", "measure {seed}", [0]), Experiment("slow", "wait {seed}", [0, 1])])
    assert not work.children
    assert load_results(checkout / "docs" / "results", "quick").seeds == [0]
    assert load_results(checkout / "docs" / "results", "slow") is None


class Stopping:
    """Asks to stop after two seconds."""

    def __enter__(self):
        self.asked = False
        threading.Timer(2.0, lambda: setattr(self, "asked", True)).start()
        return self

    def __exit__(self, *_):
        pass


def test_the_quick_version_runs_from_plan_to_document(bruno, data_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cli_paper, "QUICK_FOLDER", tmp_path)
    chosen = ("card-*", "chorales-felif-3", "bench-accuracy")
    code, out, err = bruno("paper", *chosen, "--quick", "--jobs", 2)
    assert code == 0, err
    assert str(tmp_path / "paper.md") in out
    document = (tmp_path / "paper.md").read_text()
    for name in ("card-felif", "card-rram", "chorales-felif-3", "bench-accuracy"):
        assert f"(results/{name}.json)" in document
    assert "(figures/paper_chorales.png)" in document
    assert (tmp_path / "figures" / "paper_chorales.png").is_file()


def test_every_quick_command_is_the_whole_one_made_smaller():
    whole, quick = load_plan().experiments, load_plan(quick=True).experiments
    assert sum(bool(each.seeds) for each in quick.values()) >= 8
    for name, experiment in quick.items():
        assert experiment.command.startswith(whole[name].command)
        assert len(experiment.seeds) <= 1


def test_reports_are_printed_as_they_are(bruno, monkeypatch, tmp_path):
    class Telling:
        def __init__(self, folder, scratch, jobs, report, **_):
            self.report = report

        def wanted(self, *_):
            return True

        def run(self, _):
            self.report("speed failed: [bench] it said [/green]")

    monkeypatch.setattr(paper_run, "Runner", Telling)
    code, _, err = bruno("paper", "bench-speed", "--out", tmp_path)
    assert code == 0, err
    assert "speed failed: [bench] it said [/green]" in err


def test_faults_of_the_user_are_one_sentence(bruno):
    code, _, err = bruno("paper", "no-such-experiment")
    assert code == 2
    assert "no experiment is called no-such-experiment; see bruno paper --list" in err
    listed = bruno("paper", "bench-*", "--list")[1].splitlines()
    assert len(listed) > 5
    assert all(line.startswith("bench-") for line in listed)
