"""Many runs, one table: a grid or a search over settings, each setting with several seeds.

    task: chorales            # or config: my.yaml
    seeds: [0, 1, 2]
    settings: {training.epochs: 8}                          the same for all runs
    grid: {network.neuron: [felif, rlif], synapse.bits: [3, 8]}          every combination, or
    search: {training.learning_rate: {low: 1e-3, high: 1e-2, log: true}}      `trials` of them, by Optuna's TPE
    trials: 20
    each: {network.neuron: [felif, lif, adaptive-lif]}      the same search, of as many trials, for every combination

A setting is judged by the validation score at the best epoch, averaged over seeds; the table gives mean and standard
deviation of validation and test. Runs that have ended are not repeated, so a sweep that was stopped goes on; with
other cards, or other content of a file of yours that a setting names, they are others. A run that breaks is said and
counted, and the sweep goes on: a setting with one comes behind all without. What was spent stands beside every score:
trials and seeds, updates, trained parameters and seconds of training.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.files import cell, write_atomic
from bruno_spice.devices.reading_yaml import load_yaml
from bruno_spice.training.networks.config import Number, RunConfig, sentence
from bruno_spice.training.networks.config_file import changed, code_files, default_config, load_config, refuse_code
from bruno_spice.training.progress import Interrupted, Reporter, Silent
from bruno_spice.training.runs.checkpoint import check_kept
from bruno_spice.training.runs.evaluation import changed_code, changed_parts
from bruno_spice.training.runs.folder import Cards, RunFolder, whole
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import load_task

Value = bool | int | float | str | list[int] | list[str] | None


class SearchRange(BaseModel):
    """A span to search: whole numbers if both ends are, on a logarithmic scale if `log`."""

    model_config = ConfigDict(extra="forbid")
    low: Number
    high: Number
    log: bool = False
    whole: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_whole_ends(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or "whole" in raw:
            return raw
        return raw | {"whole": all(isinstance(raw.get(end), int) for end in ("low", "high"))}

    @model_validator(mode="after")
    def _rises(self) -> "SearchRange":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic scale needs low above 0, not {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """`low` and `high`, as whole numbers if `whole`."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


class SweepConfig(BaseModel):
    """The sweep file; see the module's text."""

    model_config = ConfigDict(extra="forbid")
    task: str | None = None
    config: str | None = None
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    settings: dict[str, Value] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(default_factory=dict)
    search: dict[str, SearchRange] = Field(default_factory=dict)
    each: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(default_factory=dict)
    trials: int = Field(default=20, ge=1)
    sampler_seed: int = 0
    _trust_code: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _one_kind(self) -> "SweepConfig":
        if bool(self.grid) == bool(self.search):
            raise ValueError("a sweep has either a grid or a search")
        if self.each and not self.search:
            raise ValueError("each goes with a search, which is done for each of its values; a grid has them itself")
        if twice := sorted(set(self.each) & {*self.search, *self.settings}):
            raise ValueError(f"{twice[0]} is in each and in search or settings")
        if self.task is not None and self.config is not None:
            raise ValueError("give either task or config")
        return self

    def base(self) -> RunConfig:
        """The configuration that the settings change."""
        start = load_config(self.config, self._trust_code) if self.config else default_config(self.task or "chorales")
        return changed(start, self.settings, "settings")

    def tried(self) -> Iterator[tuple[str, RunConfig]]:
        """Where from, and the base with each seed, each value of the grid and each end of a range in its place.

        Raises `InputError` for one that no run can have.
        """
        base = self.base()
        yield "settings", base
        for seed in self.seeds:
            yield "seeds", changed(base, {"seed": seed}, "seeds")
        values = [("grid", key, value) for key, values in self.grid.items() for value in values]
        values += [("each", key, value) for key, values in self.each.items() for value in values]
        values += [("search", key, value) for key, span in self.search.items() for value in span.ends]
        for where, key, value in values:
            yield where, changed(base, {key: value}, where)

    def combinations(self) -> list[dict[str, Any]]:
        """What of `each` goes together, in its order; one empty one without it."""
        return [dict(zip(self.each, values, strict=True)) for values in product(*self.each.values())]

    def check(self) -> None:
        """Raise `InputError` for a seed, a value of the grid or an end of a range that no run can have."""
        for where, config in self.tried():
            if where in ("grid", "search", "each"):
                Cards.of(config)


def load_sweep(path: Path | str, trust_code: bool = False) -> SweepConfig:
    """Read the sweep file at `path`.

    Raises `InputError` with the key at fault, and, without `trust_code`, for a value that names a Python file.
    """
    try:
        plan = SweepConfig.model_validate(load_yaml(path, "no such sweep file") or {})
    except ValidationError as error:
        raise InputError(f"{path}: {sentence(error, SweepConfig)}") from None
    plan._trust_code = trust_code
    if not trust_code:
        for _, config in plan.tried():
            refuse_code(config, str(path))
    return plan


def sweep(plan: SweepConfig, out_dir: Path | str, reporter: Reporter | None = None) -> list[dict[str, Any]]:
    """Run `plan` in folders below `out_dir`; return the table's rows, best first, also left as ``table.csv``.

    A row holds ``settings``, ``{valid,test}_{score}_{mean,std}`` over the seeds whose runs ended, the budget
    (`_budget`), and where any broke ``broken``, what became of them. Raises `InputError` where Optuna (extra ``sweep``)
    is not installed or a setting is wrong, before the first run, `Interrupted` after Ctrl-C, and `BrunoError` where
    every run broke.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("a sweep needs Optuna: pip install 'bruno-spice[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan.check()
    reporter, out = reporter or Silent(), Path(out_dir)
    base = plan.base()
    rows: list[dict[str, Any]] = []
    higher: list[bool] = []
    faults: list[Exception] = []
    for fixed in plan.combinations():
        sampler: optuna.samplers.BaseSampler
        if plan.grid:
            choices = {key: [json.dumps(value) for value in values] for key, values in plan.grid.items()}
            sampler = optuna.samplers.GridSampler(choices, seed=plan.sampler_seed)
            trials = int(np.prod([len(values) for values in choices.values()]))
        else:
            sampler, trials = optuna.samplers.TPESampler(seed=plan.sampler_seed), plan.trials

        def objective(trial: optuna.Trial, fixed: Mapping[str, Any] = fixed, trials: int = trials) -> float:
            settings = {**fixed, **_suggest(trial, plan)}
            results, broken = _run_seeds(base, settings, plan.seeds, out, reporter)
            faults.extend(broken.values())
            said = "; ".join(f"seed {seed}: {_said(error)}" for seed, error in broken.items())
            rows.append({"settings": settings, **_statistics(results), **_budget(results, trials, plan.seeds)})
            if broken:
                rows[-1]["broken"] = said
            if not results:
                return math.nan
            higher.append(bool(results[0]["higher_is_better"]))
            metric = results[0]["metric"]
            score = float(rows[-1][f"valid_{metric}_mean"])
            reporter.line(f"{_label(settings)}: valid {metric} {score:.4f} over {len(results)} seeds")
            return math.nan if broken else -score if higher[-1] else score

        study = optuna.create_study(sampler=sampler)
        try:
            study.optimize(objective, n_trials=trials)
        except Interrupted:
            raise Interrupted("stopped on request; the same `bruno sweep` command goes on") from None
    if not higher:
        kind = InputError if all(isinstance(each, InputError) for each in faults) else BrunoError
        raise kind(f"every run broke; the first one: {rows[0]['broken']}")
    key = next(name for row in rows for name in row if name.startswith("valid_") and name.endswith("_mean"))
    sign = -1.0 if higher[0] else 1.0
    rows.sort(key=lambda row: ("broken" in row, key not in row, sign * row.get(key, 0.0)))
    write_atomic(out / "table.csv", table_csv(rows))
    return rows


def _suggest(trial: Any, plan: SweepConfig) -> dict[str, Any]:
    if plan.grid:
        return {
            key: json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in values]))
            for key, values in plan.grid.items()
        }
    return {
        key: (trial.suggest_int if span.whole else trial.suggest_float)(key, *span.ends, log=span.log)
        for key, span in plan.search.items()
    }


def _budget(results: Sequence[Mapping[str, Any]], trials: int, seeds: Sequence[int]) -> dict[str, Any]:
    """What was spent on a setting: trials that its search has, seeds of each, and of all its runs together updates of
    the weights and seconds; trained parameters of one network."""
    return {
        "trials": trials,
        "seeds": len(seeds),
        "parameters": max((result.get("parameters", 0) for result in results), default=0),
        "updates": sum(result.get("updates", 0) for result in results),
        "train_s": round(sum(result.get("wall_time_s", 0.0) for result in results), 3),
    }


def best_of_each(plan: SweepConfig, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on each combination of ``each``: its best setting by validation, and the budget of its search.

    Empty without ``each``; `rows` as `sweep` returns them, best first.
    """
    lines = []
    for fixed in plan.combinations() if plan.each else []:
        own = [row for row in rows if all(row["settings"][key] == value for key, value in fixed.items())]
        best = own[0]
        score = next((name for name in best if name.startswith("test_") and name.endswith("_mean")), None)
        if score is None:
            lines.append(f"{_label(fixed)}: every run broke")
            continue
        rest = {key: value for key, value in best["settings"].items() if key not in fixed}
        lines.append(
            f"{_label(fixed)}: {score.removesuffix('_mean').replace('_', ' ', 1)} {best[score]:.4f} with "
            f"{_label(rest)}; budget {best['trials']} trials of {best['seeds']} seeds, "
            f"{sum(row['updates'] for row in own)} updates, {sum(row['train_s'] for row in own):.0f} s"
        )
    return lines


def _label(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
    )


def _kept(config: RunConfig, folder: RunFolder) -> dict[str, Any]:
    """The result of the ended run in `folder`. Raises `InputError` where it is damaged or another run's."""
    result = folder.read_result()
    check_kept(folder.best, "best", folder.identity(config))
    if result.get("task") != config.task or result.get("seed") != config.seed:
        raise InputError(f"{folder.result}: the result of another run")
    if other := changed_code(result.get("code") or {}, config):
        raise InputError(f"{folder.result}: the code of {other} changed while it was trained")
    with whole(folder.result, f"bruno train --out {folder.path} --resume"):
        _statistics([result])
    return result


def _run(base: RunConfig, settings: Mapping[str, Any], seed: int, out: Path, reporter: Reporter) -> dict[str, Any]:
    config = changed(base, settings).with_values(seed=seed)
    whole = config.to_yaml() + json.dumps(Cards.of(config).hashes())
    if code := code_files(config):
        whole += json.dumps(code)
    name = hashlib.sha256(whole.encode()).hexdigest()[:12]
    folder = RunFolder(out / name)
    if folder.result.is_file():
        try:
            result = _kept(config, folder)
        except InputError as error:
            reporter.line(f"trains anew: {error}")
            folder.result.unlink()
        else:
            if other := changed_parts(result.get("data") or {}, load_task(config.task, config.task_options)):
                raise InputError(
                    f"{folder.path}: the {other} data have changed since; put them back, or name another --out"
                )
            return result
    reporter.line(f"{_label(settings)}, seed {seed}: {folder.path}")
    return train(config, folder.path, resume=True, overwrite=True, reporter=reporter)


def _run_seeds(
    base: RunConfig, settings: Mapping[str, Any], seeds: Iterable[int], out: Path, reporter: Reporter
) -> tuple[list[dict[str, Any]], dict[int, Exception]]:
    """The results with each of `seeds`, and by seed what broke a run."""
    results: list[dict[str, Any]] = []
    broken: dict[int, Exception] = {}
    for seed in seeds:
        try:
            results.append(_run(base, settings, seed, out, reporter))
        except Interrupted:
            raise
        except Exception as error:  # of a task or a part of the user's own, whatever it is
            broken[seed] = error
            reporter.line(f"{_label(settings)}, seed {seed} broke: {_said(error)}")
    return results, broken


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BrunoError) else f"{type(error).__name__}: {error}"


def _statistics(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    results = list(results)
    table: dict[str, float] = {}
    if not results:
        return table
    main = results[0]["metric"]
    for name in sorted(results[0]["test"] | results[0]["valid"], key=lambda each: each != main):
        for part in ("valid", "test"):
            if not all(name in result[part] for result in results):
                continue  # nothing of that part counted for it
            values = np.array([result[part][name] for result in results])
            table[f"{part}_{name}_mean"] = float(values.mean())
            table[f"{part}_{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return table


def table_csv(rows: list[dict[str, Any]]) -> str:
    """The rows as CSV text, a column a setting and a statistic."""
    buffer = io.StringIO()
    flat = [{**row["settings"], **{key: value for key, value in row.items() if key != "settings"}} for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writerow({key: cell(key) for key in columns})
    writer.writerows({key: cell(value) for key, value in row.items()} for row in flat)
    return buffer.getvalue()
