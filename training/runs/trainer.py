"""The training loop: AdamW or Adamax, a schedule, clipped gradients, the best and the last state kept.

Random numbers come from two places only: torch's global state (weights, chip, dropout, noise), which the checkpoint
keeps, and the order of the batches, which follows from seed and epoch. So ``--resume`` goes on bit for bit, from the
middle of an epoch too.
"""

import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import get_total_norm

from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.training.memory import settle
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.config_file import MAY_CHANGE_ON_RESUME, code_files, difference
from bruno_spice.training.networks.network import AnyNetwork
from bruno_spice.training.parallel import Process, processes, usable_device
from bruno_spice.training.progress import (
    Interrupted,
    Reporter,
    Silent,
    StopRequest,
    stop_on_signal,
    threads,
    warnings_to,
)
from bruno_spice.training.runs.averaging import WeightAverage
from bruno_spice.training.runs.board import Board
from bruno_spice.training.runs.checkpoint import (
    Progress,
    check_kept,
    kept_hashes,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)
from bruno_spice.training.runs.deciding import check_scores, check_weight, is_better
from bruno_spice.training.runs.evaluation import card_notes, changed_code, changed_parts, make_network, score_part
from bruno_spice.training.runs.folder import Cards, RunFolder, sealed
from bruno_spice.training.runs.monitor import broken_gradients, gradient_norms, rate_warnings
from bruno_spice.training.runs.optimizer import descend, make_optimizer, rescale
from bruno_spice.training.runs.result import result_of
from bruno_spice.training.runs.schedule import epoch_batches, schedule_factor
from bruno_spice.training.synapses.retention import drawn_on
from bruno_spice.training.tasks import Batch, Example, Task, load_task

SAVE_EVERY_S = 300.0
"""Between checkpoints within an epoch: what a killed run loses at most."""


class Trainer:
    """One run in memory; `train` makes and runs it."""

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        network: AnyNetwork,
        folder: RunFolder,
        process: Process,
        reporter: Reporter,
    ) -> None:
        self.config, self.task, self.network = config, task, network
        self.folder, self.process, self.reporter = folder, process, reporter
        self.device = next(network.parameters()).device
        self.model = process.wrap(network)
        settings = config.training
        self.optimizer = make_optimizer(config, network)
        self.average = WeightAverage(network, settings.average_decay) if settings.average_decay else None
        self.progress = Progress()
        self.belongs = ""
        self.batches_per_epoch = math.ceil(len(task.parts["train"]) / settings.batch_size)

    def resume(self) -> None:
        """Go back to the folder's checkpoint."""
        belongs = self.folder.identity(self.config)
        parts = (self.network, self.optimizer, self.device, self.average, belongs)
        self.progress = load_checkpoint(self.folder.checkpoint, *parts)
        if self.progress.best_epoch >= 0:
            check_kept(self.folder.best, "best", belongs)
        if changed := changed_parts(self.progress.data, self.task):
            raise InputError(
                f"--resume goes on with the run as it was begun, but the data of {changed} are others now; put them "
                "back, or begin another run with --out"
            )

    def run(self, stop: StopRequest) -> None:
        """Train until the last epoch, until patience ends, or until `stop`. Raises `Interrupted`."""
        self.belongs = self.folder.identity(self.config)
        self.progress.data, self.progress.code = self.task.data_hashes(), code_files(self.config)
        if self.progress.step == 0:
            self._save()  # what is killed before its first epoch has ended begins here again
        board = Board(self.folder.path / "tensorboard", self.progress.history) if self.process.is_first else None
        total = self.config.training.epochs * self.batches_per_epoch
        asked, done = self.config.training.epochs, self.progress.epoch
        if done >= asked:
            self.reporter.line(f"nothing to train: the run has {done} epochs, {asked} are asked for")
        self.reporter.start(self.progress.epoch * self.batches_per_epoch + self.progress.batch, total)
        try:
            while self.progress.epoch < self.config.training.epochs and not self._out_of_patience():
                self._epoch(stop)
                if board is not None:
                    board.add(self.progress.history[-1])
        finally:
            if board is not None:
                board.close()

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience is not None and self.progress.epoch - 1 - self.progress.best_epoch >= patience

    def _epoch(self, stop: StopRequest) -> None:
        progress = self.progress
        examples = self.task.training_examples(self.config.seed, progress.epoch)
        batches = epoch_batches(examples, self.config.training, self.config.seed, progress.epoch)
        started = time.perf_counter() - progress.epoch_time_s
        saved_s = time.monotonic()
        for examples in batches[progress.batch :]:
            self._step(examples)
            progress.batch += 1
            progress.step += 1
            progress.epoch_time_s = time.perf_counter() - started
            self.reporter.advance()
            if self.process.total(float(stop.asked)):
                self._save()
                raise Interrupted(
                    f"stopped on request in epoch {progress.epoch + 1} after {progress.step} updates; "
                    f"`bruno train --out {self.folder.path} --resume` goes on"
                )
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                self._save()
                saved_s = time.monotonic()
        self._end_epoch()

    def _share(self, examples: list[Example]) -> Batch:
        """This process's part of a batch; sequences added to make the parts equal carry no weight."""
        parameter = next(self.network.parameters())
        world_size = self.process.world_size
        extra = -len(examples) % world_size
        batch = self.task.collate([*examples, *examples[-1:] * extra])
        if extra:
            batch.mask[:, -extra:] = 0
        self.network.set_process(self.process.rank, world_size, len(examples))
        return batch.shard(self.process.rank, world_size).to(self.device, parameter.dtype)

    def _step(self, examples: list[Example]) -> None:
        sums = self.progress.sums
        every = self.config.synapse.redraw_every
        if every and self.progress.step % every == 0:
            self.network.redraw()
        factor = self._factor(self.progress.batch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["start"] * factor
        self.network.train()
        batch = self._share(examples)
        loss, weight = self.task.loss_of(self.model(batch.inputs, batch.lengths), batch)
        whole = self.process.total(weight)
        if whole:  # of a batch that counts for nothing, such as one of classes of weight 0, nothing is learned
            self._update(loss * (self.process.world_size / whole))
        _add(sums, loss=self.process.total(float(loss.detach())), weight=whole)

    def _update(self, loss: torch.Tensor) -> None:
        settings = self.config.training
        self.optimizer.zero_grad()
        loss.backward()
        gradients = [each.grad for each in self.network.parameters() if each.grad is not None]
        norm = get_total_norm(gradients)
        if not torch.isfinite(norm):
            self._broken_step()
            if settings.broken_updates == "rescale":
                rescale(gradients)
                norm = get_total_norm(gradients)
        if torch.isfinite(norm):
            descend(self.optimizer, self.network, settings.gradient_clip)
            if self.average is not None:
                self.average.update(self.progress.step)
            _add(self.progress.sums, gradient_norm=float(norm), updates=1.0)

    def _factor(self, batch: int) -> float:
        """Share of the learning rates in force at `batch` of the present epoch."""
        return schedule_factor(self.config.training, self.progress.epoch + batch / self.batches_per_epoch)

    def _norms(self) -> dict[str, float | None]:
        """Of the epoch's last gradient: the present one, or the one before the run was stopped."""
        return gradient_norms(self.network) or self.progress.gradient_norms

    def _broken_step(self) -> None:
        sums = self.progress.sums
        names = ", ".join(broken_gradients(self.network)) or "all weights together (it overflows)"
        if not sums.get("broken"):
            done = "left out" if self.config.training.broken_updates == "leave_out" else "rescaled"
            self.reporter.line(f"warning: the gradient of {names} is not finite; the update is {done}")
        _add(sums, broken=1.0)
        if sums["broken"] >= self.config.training.most_broken_updates:
            raise BrunoError(
                f"{int(sums['broken'])} updates of one epoch had a gradient that is not finite, in {names}; "
                f"lower training.learning_rate or take another neuron.gradient"
            )

    def _end_epoch(self) -> None:
        with nullcontext() if self.average is None else self.average.in_place():
            self._validate()
        self._save()
        self._tell(self.progress.history[-1])

    def _validate(self) -> None:
        """The epoch's row of the history; the best network is kept."""
        progress, sums = self.progress, self.progress.sums
        network = self.network
        started = time.perf_counter()
        check_weight(sums["weight"], progress.epoch + 1)
        scores, rates = score_part(network, self.task, "valid", self.config.seed)
        check_scores(self.task, scores, progress.epoch + 1)
        score = scores[self.task.deciding[-1]]
        summary = rates.summary()
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "step": progress.step,
                "train": {"loss": sums["loss"] / sums["weight"]},
                "valid": scores,
                "learning_rate": self.config.training.learning_rate * self._factor(progress.batch - 1),
                "gradient_norm": sums["gradient_norm"] / sums["updates"] if "updates" in sums else None,
                "gradient_norms": self._norms(),
                "broken_updates": int(sums.get("broken", 0)),
                "activity": summary,
                "train_time_s": progress.epoch_time_s,
                "valid_time_s": time.perf_counter() - started,
                **({} if network.shared is None else {"devices": network.shared.values()}),
            }
        )
        if is_better(self.task, score, progress.best_score):
            progress.best_score, progress.best_epoch = score, progress.epoch
            if self.process.is_first:
                save_model(self.folder.best, network, self.belongs, data=progress.data, code=progress.code)
        progress.wall_time_s += progress.epoch_time_s + progress.history[-1]["valid_time_s"]
        progress.epoch, progress.batch, progress.epoch_time_s, progress.sums = progress.epoch + 1, 0, 0.0, {}
        self.optimizer.zero_grad()
        progress.gradient_norms = {}

    def _tell(self, row: dict[str, Any]) -> None:
        scores = ", ".join(f"{name} {row['valid'][name]:.4f}" for name in self.task.deciding)
        rates = ", ".join(f"{layer} {values['rate']:.3f}" for layer, values in row["activity"].items())
        self.reporter.line(
            f"epoch {row['epoch']}/{self.config.training.epochs}  train loss {row['train']['loss']:.4f}  "
            f"valid {scores} (best epoch {self.progress.best_epoch + 1})"
            + (f"  spikes per ms: {rates}" if rates else "")
            + "".join(f"  {name} {value:.4g}" for name, value in row.get("devices", {}).items())
            + f"  {row['train_time_s'] + row['valid_time_s']:.1f} s"
        )
        for warning in rate_warnings(row["activity"]):
            self.reporter.line(warning)

    def _save(self) -> None:
        if self.process.is_first:
            self.progress.gradient_norms = self._norms()
            self.folder.write_metrics(self.progress.history)
            state = (self.network, self.optimizer, self.progress, self.device, self.average, self.belongs)
            save_checkpoint(self.folder.checkpoint, *state)


def _add(sums: dict[str, float], **values: float) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


def train(
    config: RunConfig,
    out_dir: Path | str,
    resume: bool = False,
    reporter: Reporter | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train the network of `config`, leave everything in the run folder `out_dir`, return what ``result.json`` holds.

    resume: go on from the folder's checkpoint; only ``training.epochs`` and ``training.patience`` may differ.
    overwrite: begin anew in a folder that holds a run; with `resume`, only where it is another run than `config` with
    the present cards: a finished one is left as it is.

    Raises `InputError` for a folder that holds a file, a run already, another run than `config` or a damaged one,
    `BusyError` where another command writes there, `Interrupted` after
    Ctrl-C with everything saved, `BrunoError` where gradients stay without a finite value.
    """
    folder = RunFolder(Path(out_dir))
    reporter = reporter or Silent()
    for place in (folder.path, *folder.path.parents):
        if place.is_file():
            raise InputError(f"{place}: a file is there; --out takes a folder")
    device = usable_device(config.device)
    settle()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with processes(device) as process, stop_on_signal() as stop:
        talker: Reporter = reporter if process.is_first else Silent()
        try:
            lock = folder.writing() if process.is_first else nullcontext()
            with warnings_to(talker), threads(config.threads), lock:
                return _train(config, folder, resume, overwrite, process, talker, stop)
        finally:
            talker.close()


def _train(
    config: RunConfig,
    folder: RunFolder,
    resume: bool,
    overwrite: bool,
    process: Process,
    reporter: Reporter,
    stop: StopRequest,
) -> dict[str, Any]:
    if resume and overwrite:
        resume = folder.checkpoint.is_file() and _is_same(config, folder, reporter)
        if resume and (done := _finished(config, folder)) is not None:
            reporter.line(f"{folder.path} holds this run already, with this configuration and these cards")
            return done
    elif resume:
        _check_same(config, folder.load_config(trust_code=True))
        if not folder.begun:
            reporter.line(f"{folder.path} was stopped before its first checkpoint; it begins anew")
            resume = False
        elif other := _changed_code(config, folder):
            raise InputError(
                f"--resume goes on with the run as it was begun, but the code of {other} is another now; put it back, "
                "or begin another run with --out"
            )
    elif folder.checkpoint.is_file() and not overwrite:
        raise InputError(f"{folder.path}: holds a run already; add --resume to go on or --overwrite to begin anew")
    if (found := folder.of_others()) is not None:
        raise InputError(f"{found}: a run would delete it, and there is no run here; give another folder to --out")
    process.wait()  # all have looked at the folder
    cards = folder.load_cards(config) if resume else Cards.of(config)
    for note in card_notes(config, cards) if resume else []:
        reporter.line(note)
    task = load_task(config.task, config.task_options, reporter.line)
    reporter.line(f"{config.task}: {task.source}; " + ", ".join(f"{n} {part}" for part, n in task.sizes().items()))
    network = make_network(config, task, cards)
    if note := drawn_on(network.synapses().values()):
        reporter.line(f"note: {note}")
    trainer = Trainer(config, task, network, folder, process, reporter)
    if resume:
        trainer.resume()
    elif process.is_first:
        folder.clear()
    if process.is_first:
        folder.begin(config, None if resume else cards)
    process.wait()  # for the cards, which tell whose weights they are
    trainer.run(stop)
    process.wait()  # for the first one, which writes the best network
    load_model(folder.best, network, trainer.belongs)
    answers: dict[int, torch.Tensor] = {}
    result = sealed(result_of(config, task, network, trainer.progress, folder, cards, reporter, answers))
    if process.is_first:
        if network.shared is not None:
            folder.write_proposal(network.shared, trainer.belongs)
        folder.write_result(result)
        from bruno_spice.training.runs.figures import write_figures

        write_figures(folder, task, network, answers, trainer.progress.history, result)
    return result


def _is_same(config: RunConfig, folder: RunFolder, reporter: Reporter) -> bool:
    """Whether `folder` holds the run that `config` and the cards that it names would begin; not where it is damaged."""
    present = Cards.of(config).hashes()
    try:
        saved = folder.load_config(trust_code=True)
        lengths = [[getattr(each.training, name) for name in MAY_CHANGE_ON_RESUME] for each in (config, saved)]
        if difference(config, saved) is not None or lengths[0] != lengths[1]:
            return False  # a longer run has another schedule from its first step on
        if folder.load_cards(saved).hashes() != present:
            return False
        belongs = folder.identity(saved)
        if other := _changed_code(saved, folder):
            raise InputError(f"the code of {other} has changed since the run was begun")
        state = check_kept(folder.checkpoint, "checkpoint", belongs)
        if json.loads(state).get("best_epoch", -1) >= 0:
            check_kept(folder.best, "best", belongs)
    except InputError as error:
        reporter.line(f"begins anew: {error}")
        return False
    return True


def _changed_code(config: RunConfig, folder: RunFolder) -> str:
    """`changed_code` since the run of `config` in `folder` was begun."""
    return changed_code(kept_hashes(folder.checkpoint, "checkpoint", folder.identity(config), "code"), config)


def _finished(config: RunConfig, folder: RunFolder) -> dict[str, Any] | None:
    """The result of the run in `folder` where it has all the epochs that `config` asks for; None where it has not."""
    if not folder.result.is_file() or folder.load_config(trust_code=True) != config:
        return None
    result = folder.read_result()
    return result if result.get("epochs") == config.training.epochs else None


def _check_same(config: RunConfig, saved: RunConfig) -> None:
    found = difference(config, saved)
    if found is not None:
        raise InputError(f"--resume goes on with the run as it was begun, but {found}; begin another run with --out")
