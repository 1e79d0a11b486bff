"""Run the stages of a recipe: from cached images to the best weights, resumable after any epoch.

In: a built network, loaders and a recipe. Out: a `FitResult` with the history and the best epoch. After an epoch
`checkpoint.pt` holds all that the next one needs (weights, optimizer, schedule, history, early-stopping state), so
that a killed run goes on to the same result as an uninterrupted one (bit for bit on CPU, by test).
"""

from __future__ import annotations

import csv
import io
import logging
import signal
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy
from rich.console import Console
from torch import Tensor

from tumorscope.core.allocation import keep_freed_memory
from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.imaging.loader import Batches, BatchLoader
from tumorscope.models.freeze import apply_freeze
from tumorscope.models.registry import BuiltModel
from tumorscope.training.attend import Attention
from tumorscope.training.checkpoint import FitState, load_checkpoint, save_checkpoint
from tumorscope.training.choosing import better, chosen_by
from tumorscope.training.feed import feed_of
from tumorscope.training.losses import Loss
from tumorscope.training.module import StageModule
from tumorscope.training.plan import Plan, prepare
from tumorscope.training.processes import ALONE, Processes
from tumorscope.training.progress import RichProgress
from tumorscope.training.recipe import EarlyStop, Recipe

CHEAP_SAVE_S = 0.05
SAVE_SHARE = 0.1
"""A checkpoint that takes longer than the first is stored only as often as costs this share of the time: a stopped run
repeats some seconds, to the same result. The last epoch of a stage is always stored."""

METRIC_COLUMNS = (
    "stage",
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_auroc",
)


@dataclass(frozen=True)
class FitResult:
    """What training leaves: history, best weights are in the network."""

    rows: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    best_row: int
    seconds: list[float]
    resumed: bool
    images_per_epoch: int
    plan: Plan


def metrics_csv(rows: list[dict[str, Any]]) -> str:
    """History as CSV text with full-precision figures."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, METRIC_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return buffer.getvalue()


class _Keeper(L.Callback):
    """After each epoch: note the row, keep the best weights, store the checkpoint if due, stop early."""

    def __init__(
        self,
        state: FitState,
        folder: Path,
        *,
        monitor: str,
        early: EarlyStop | None,
        stage_name: str,
        writes: bool = True,
    ) -> None:
        self.writes = writes
        self.state = state
        self.folder = folder
        self.monitor = monitor
        self.early = early
        self.stage_name = stage_name
        self.best: dict[str, Tensor] = {}
        self._start = 0.0
        self._saved = 0.0
        self._cost = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.perf_counter()

    def close_epoch(self, trainer: L.Trainer, module: StageModule) -> None:
        """Called by the module's trainer after the module closed its row."""
        state = self.state
        state.seconds.append(time.perf_counter() - self._start)
        state.epoch += 1
        state.rows.append({"stage": self.stage_name, "epoch": len(state.rows) + 1, **module.row})
        value = chosen_by(self.monitor, module.row, epochs=len(state.rows))
        if better(self.monitor, value, state.best_value):
            state.best_value = value
            state.best_row = len(state.rows) - 1
            self.best = {k: v.detach().clone() for k, v in module.network.state_dict().items()}
        if self.early is not None:
            value = module.row[self.early.monitor]
            if better(self.early.monitor, value, state.stop_value, self.early.min_delta):
                state.stop_value, state.waited = value, 0
            else:
                state.waited += 1
            if state.waited >= self.early.patience:
                state.stopped.append(self.stage_name)
                trainer.should_stop = True
        if not self.writes:
            return
        last = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if last or self._due():
            begun = time.perf_counter()
            save_checkpoint(self.folder / "checkpoint.pt", state, module, self.best)
            self._saved = time.perf_counter()
            self._cost = self._saved - begun
        write_text(self.folder / "metrics.csv", metrics_csv(state.rows))

    def _due(self) -> bool:
        """Whether storing is cheap, or was long enough ago."""
        return self._cost <= CHEAP_SAVE_S or time.perf_counter() - self._saved >= self._cost / SAVE_SHARE


class _EpochEnd(L.pytorch.callbacks.Checkpoint):
    """Calls the keeper once the module has closed its row; Lightning runs checkpoint callbacks last."""

    def __init__(self, keeper: _Keeper, progress: RichProgress) -> None:
        super().__init__()
        self.keeper = keeper
        self.progress = progress

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, StageModule)
        self.keeper.close_epoch(trainer, pl_module)
        self.progress.close_epoch(trainer.current_epoch, pl_module.row)


def fit(
    recipe: Recipe,
    built: BuiltModel,
    train: BatchLoader,
    val: BatchLoader,
    *,
    folder: Path,
    loss: Loss,
    classes: int,
    positive: int | None,
    plan: Plan,
    split_sha256: str,
    console: Console,
    resume: bool = False,
    processes: Processes = ALONE,
) -> FitResult:
    """Train all stages; the network ends with the best weights over all of them.

    Args:
        recipe: What to do.
        built: The network; changed in place.
        train: Training batches.
        val: Validation batches; they choose epochs, schedules and stopping.
        folder: Run folder; `checkpoint.pt` and `metrics.csv` are written after each epoch.
        loss: From logits and targets to a scalar.
        classes: Number of classes.
        positive: Position of the positive class, or None.
        plan: Execution plan; with `resume`, that of `begun_plan`.
        split_sha256: Hash of the split, checked on resumption.
        console: Where progress goes.
        resume: Go on from `checkpoint.pt` if there is one.
        processes: Those that train together, each with its share of both loaders; the first one alone looks into
            `folder`.
    """
    keep_freed_memory()
    network = built.module
    state = FitState(recipe_sha256=recipe.sha256, split_sha256=split_sha256, plan=asdict(plan))
    path = folder / "checkpoint.pt"

    def checkpoint() -> dict[str, Any] | None:
        there = resume and path.is_file()
        return load_checkpoint(path, recipe_sha256=recipe.sha256, split_sha256=split_sha256) if there else None

    stored = processes.from_first(checkpoint)
    if stored is not None:
        state = FitState(**stored["state"])
        network.load_state_dict(stored["network"])
    resumed = stored is not None
    best: dict[str, Tensor] = dict(stored["best"]) if stored else {}
    stages = list(recipe.stage.items())
    for position, (name, stage) in enumerate(stages):
        if position < state.stage:
            continue
        if position > state.stage:
            state.stage, state.epoch, state.waited, state.stop_value, stored = position, 0, 0, None, None
            if best:
                network.load_state_dict(best)
        if state.epoch >= stage.epochs or name in state.stopped:
            continue
        apply_freeze(built, stage.trainable)
        prepare(network, plan.memory_format)
        if not processes.alone:
            from tumorscope.training.norms import synchronise

            synchronise(network)
        train.channels_last = val.channels_last = plan.memory_format == "channels_last"
        feed = feed_of(network, stage, train, val, plan=plan, console=console, processes=processes)
        state.frozen[name] = feed.frozen
        if feed.frozen:
            console.print(f"stage {name}: {feed.frozen}", highlight=False, markup=False)
        attention = None
        if train.regions is not None:
            attention = Attention(
                network, built.cam_layer, classes=classes, positive=positive, weight=recipe.train.attend_weight
            )
        module = StageModule(
            network,
            forward=feed.forward,
            loss=loss,
            stage=stage,
            classes=classes,
            positive=positive,
            steps_per_epoch=len(train),
            seed=recipe.train.seed + 1000 * position,
            first_epoch=state.epoch,
            attention=attention,
            clips=recipe.train.clip_norm is not None,
            processes=processes,
        )
        if stored is not None:
            module.optimizer.load_state_dict(stored["optimizer"])
            if module.scheduler is not None:
                module.scheduler.load_state_dict(stored["scheduler"])
        keeper = _Keeper(
            state,
            folder,
            monitor=recipe.train.monitor,
            early=recipe.train.early_stop,
            stage_name=name,
            writes=processes.first,
        )
        keeper.best = best
        progress = RichProgress(
            console, stage=name, epochs=stage.epochs, first_epoch=state.epoch, monitor=recipe.train.monitor
        )
        _run_stage(
            module,
            feed.train,
            feed.val,
            epochs=stage.epochs - state.epoch,
            plan=plan,
            callbacks=[_Epochs(feed.train, position), keeper, progress, _EpochEnd(keeper, progress)],
            clip_norm=recipe.train.clip_norm,
            processes=processes,
        )
        best = keeper.best
        if attention is not None:
            attention.close()
    if not best:
        raise DataError(
            f"no epoch gave a finite {recipe.train.monitor}",
            expected="at least one epoch with a usable validation figure",
            where="[train] monitor",
            fix="monitor val_loss, lower the learning rate, or check that validation has every class",
        )
    network.load_state_dict(best)
    if processes.first:
        write_text(folder / "metrics.csv", metrics_csv(state.rows))
    return FitResult(
        rows=state.rows,
        stages=_stage_summary(recipe, state),
        best_row=state.best_row,
        seconds=state.seconds,
        resumed=resumed,
        images_per_epoch=len(train.rows),
        plan=plan,
    )


class _Epochs(L.Callback):
    """Tells the loader which epoch it is, so that order and augmentation follow the seed."""

    def __init__(self, loader: Batches, stage: int) -> None:
        self.loader = loader
        self.stage = stage

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, StageModule)
        self.loader.epoch = self.stage * 100_000 + pl_module.stage_epoch


def _run_stage(
    module: StageModule,
    train: Batches,
    val: Batches,
    *,
    epochs: int,
    plan: Plan,
    callbacks: list[L.Callback],
    clip_norm: float | None,
    processes: Processes,
) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # advice of the trainer about loader workers and loggers, which are not used here
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        trainer = L.Trainer(
            accelerator=plan.device,
            devices=processes.local_world,
            num_nodes=processes.world // processes.local_world,
            strategy=_strategy(processes),
            use_distributed_sampler=False,  # the loaders hand out shares
            max_epochs=epochs,
            precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
            logger=False,
            enable_checkpointing=True,  # ours, in the callbacks; no other is added
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=clip_norm,
            callbacks=callbacks,
        )
        try:
            trainer.fit(module, train, val)
        except SystemExit:
            # the trainer turns Ctrl-C into an exit with the signal ignored; the caller decides instead
            if not trainer.interrupted:
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None


def _strategy(processes: Processes) -> Strategy | str:
    """The usual one for one process; for several, gradients are averaged in the group that they have joined."""
    if processes.alone:
        return "auto"
    # every process computes the same running statistics, so none has to be sent
    return DDPStrategy(cluster_environment=TorchElasticEnvironment(), broadcast_buffers=False)


def _stage_summary(recipe: Recipe, state: FitState) -> list[dict[str, Any]]:
    summary = []
    for name, stage in recipe.stage.items():
        rows = [i for i, row in enumerate(state.rows) if row["stage"] == name]
        best = state.best_row if state.best_row in rows else None
        summary.append(
            {
                "name": name,
                "trainable": stage.trainable,
                "epochs_planned": stage.epochs,
                "epochs_run": len(rows),
                "best_epoch": None if best is None else best + 1,
                "stopped_early": name in state.stopped,
                "frozen": state.frozen.get(name, ""),
            }
        )
    return summary
