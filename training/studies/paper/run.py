"""Runs the experiments of a plan as processes of their own and keeps every seed's result as soon as it is there.

A stopped run goes on where it was: seeds that this code has done on this machine stay, a training goes on from its
checkpoint. A result file of other code, or from elsewhere, is only replaced once the new one has as many seeds.
"""

import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.files import ROOT
from bruno_spice.training.progress import Interrupted, StopRequest, stop_on_signal
from bruno_spice.training.studies.paper.plan import Experiment
from bruno_spice.training.studies.results import Code, Results, Run, load_results, new_results

LINKED = "linked"
"""Folder of a checkout in which its folders are one package: its code runs, not that of the installed one."""
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Runner:
    """Runs experiments with the code of the checkout `root`; result files go to `folder`.

    scratch: folder, relative to `root`, of the run folders, logs and unfinished results, one below it for each commit.
    jobs: processes at a time. report: hears a line for every run. allow_dirty: files may differ from the last commit;
    nothing is then taken from earlier. Raises `InputError` where they differ otherwise.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        jobs: int = 1,
        report: Callable[[str], None] = lambda text: None,
        allow_dirty: bool = False,
        root: Path = ROOT,
    ) -> None:
        self.folder, self.jobs, self.report, self.root = folder, jobs, report, root
        self.code = Code.of(root)
        if self.code.dirty and not allow_dirty:
            raise InputError(
                "files differ from the last commit, so that results could not name the code that made them; "
                "commit them, or take --allow-dirty for results that say so"
            )
        self.runs = scratch / ("dirty" if self.code.dirty else self.code.commit[:12])
        self.here = root / self.runs
        if self.code.dirty:
            shutil.rmtree(self.here, ignore_errors=True)
        self.children: set[subprocess.Popen[str]] = set()
        self.stop = StopRequest()

    def wanted(self, experiment: Experiment, again: bool) -> bool:
        """Whether a seed of `experiment` has no result; with `again`, none that this very code made."""
        if not experiment.seeds:
            return False
        found = load_results(self.folder, experiment.name)
        if found is None or found.command != experiment.shown or set(experiment.seeds) - set(found.seeds):
            return True
        return again and (found.dirty or self.code.dirty or found.commit != self.code.commit)

    def run(self, experiments: Sequence[Experiment]) -> None:
        """Run all seeds of `experiments` that this code has not done; those `alone` come last, one by one.

        What they need comes first: the seeds of other experiments whose run folders this code has not filled here.

        Raises `Interrupted` after Ctrl-C, `BrunoError` that names the runs that failed once the others are done.
        """
        groups = [([each for each in experiments if not each.alone], self.jobs)]
        groups += [([each], 1) for each in experiments if each.alone]
        failed: list[str] = []
        with stop_on_signal() as self.stop:
            for level in self._needed(experiments):
                left = [(each, seed) for each, seed in level if not self._ready(each, seed)]
                failed += self._run_group(left, self.jobs)
            for group, jobs in groups:
                if not self.stop.asked:
                    failed += self._run_group(self._in_turn(group), jobs)
        if self.stop.asked:
            raise Interrupted("stopped on request; the same command goes on")
        if failed:
            raise BrunoError(f"runs failed: {', '.join(failed)}; their logs are in {self.runs / 'logs'}")

    def _run_group(self, group: Sequence[tuple[Experiment, int]], jobs: int) -> list[str]:
        failed: list[str] = []
        with ThreadPoolExecutor(jobs) as pool:
            waiting: dict[Future[Run], Experiment] = {}
            for experiment, seed in group:
                waiting[pool.submit(self._run_one, experiment, seed, jobs)] = experiment
            while waiting and not self.stop.asked:
                done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    experiment = waiting.pop(future)
                    try:
                        self._keep(experiment, future.result())
                    except BrunoError as error:
                        failed.append(experiment.name)
                        self.report(f"{experiment.name} failed: {error}")
            pool.shutdown(wait=False, cancel_futures=True)
            for child in list(self.children):
                child.terminate()
        return failed

    def _in_turn(self, group: Sequence[Experiment]) -> list[tuple[Experiment, int]]:
        """What is left to do: the first seed of every experiment, then the second, so that a table fills evenly."""
        left = [(turn, each, seed) for each in group for turn, seed in enumerate(each.seeds)
                if seed not in self._own(each).seeds]  # fmt: skip
        return [(each, seed) for _, each, seed in sorted(left, key=lambda entry: entry[0])]

    def _needed(self, experiments: Sequence[Experiment]) -> list[list[tuple[Experiment, int]]]:
        """What they need and is not there, and what that needs in turn, which comes first."""
        levels: list[list[tuple[Experiment, int]]] = []
        wanted = self._in_turn(experiments)
        while wanted:
            needed = {(each.needs.name, seed): each.needs for each, seed in wanted if each.needs}
            wanted = [(each, seed) for (_, seed), each in needed.items() if not self._ready(each, seed)]
            levels.insert(0, wanted)
        return levels

    def _ready(self, experiment: Experiment, seed: int) -> bool:
        """Whether the run folder of `seed` is here, and this code's run into it came to its end."""
        return seed in self._own(experiment).seeds and experiment.folder(seed, self.here).is_dir()

    def _own(self, experiment: Experiment) -> Results:
        """What this code has done of `experiment` so far, on this machine and with its versions of the libraries."""
        new = new_results(experiment.name, experiment.shown, self.code)
        for folder in (self.here / "results", self.folder):
            found = load_results(folder, experiment.name)
            if found is not None and replace(found, runs=[]) == new and not (folder == self.folder and new.dirty):
                return found
        return new

    def _keep(self, experiment: Experiment, run: Run) -> None:
        own, before = self._own(experiment), load_results(self.folder, experiment.name)
        own.add(run)
        own.save(self.here / "results")
        if before is None or before.command != own.command or len(own.runs) >= len(before.runs):
            own.save(self.folder)
        self.report(f"{experiment.name} seed {run.seed}: {run.wall_time_s:.0f} s")

    def _run_one(self, experiment: Experiment, seed: int, jobs: int) -> Run:
        if (needed := experiment.needs) and not self._ready(needed, seed):
            raise BrunoError(f"it needs {needed.name}, whose seed {seed} is not there")
        words = experiment.words(seed, self.runs)
        command, date = f"bruno {shlex.join(words)}", datetime.datetime.now(datetime.UTC)
        if words[0] == "train":
            begun = (experiment.folder(seed, self.here) / "checkpoint.json").is_file()
            words = [*words, "--resume" if begun else "--overwrite"]
        log = self.here / "logs" / f"{experiment.name}-{seed}.log"
        started = time.perf_counter()
        printed = self._process(words, log, jobs)
        wall_time_s = time.perf_counter() - started
        if not self.code.dirty and Code.of(self.root) != self.code:
            raise BrunoError("the code changed while it ran; its result is left out")
        result = json.loads(printed)
        # A training that went on from a checkpoint says itself how long all of it took.
        whole_s = max(wall_time_s, result.get("wall_time_s", 0.0))
        return Run(seed, command, date.isoformat(timespec="seconds"), round(whole_s, 3), result)

    def _process(self, words: list[str], log: Path, jobs: int) -> str:
        """What ``bruno WORDS`` prints. Raises `BrunoError` with the last line of its `log`."""
        share = str(max(1, (os.cpu_count() or 1) // jobs))
        environment = {name: share for name in THREAD_LIMITS if jobs > 1} | os.environ
        environment |= {"PYTHONPATH": str(self.root / LINKED)}
        log.parent.mkdir(parents=True, exist_ok=True)
        if self.stop.asked:
            raise Interrupted("stopped on request")
        with log.open("w") as errors:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "bruno_spice", *map(os.path.expandvars, words)],
                cwd=self.root,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            self.children.add(child)
            if self.stop.asked:
                child.terminate()
            printed, _ = child.communicate()
            self.children.discard(child)
        if child.returncode != 0:
            said = log.read_text().strip().splitlines()
            raise BrunoError(said[-1].removeprefix("error: ") if said else f"exit code {child.returncode}")
        return printed
