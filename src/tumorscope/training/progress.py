"""What a person sees while it trains: epoch, loss, validation figure, images a second, time left."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tumorscope.training.module import StageModule


class RichProgress(L.Callback):
    """A bar a stage on a terminal; one line an epoch where output is a file."""

    def __init__(self, console: Console, *, stage: str, epochs: int, first_epoch: int, monitor: str) -> None:
        self.console = console
        self.stage = stage
        self.epochs = epochs
        self.first_epoch = first_epoch
        self.monitor = monitor
        self._images = 0
        self._start = 0.0
        self._task: Any = None
        self._validation = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        steps = int(trainer.num_training_batches)
        self._task = self._bar.add_task(
            self.stage, total=self.epochs * steps, completed=self.first_epoch * steps, figures=""
        )
        self._bar.start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._images, self._start = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar one batch."""
        assert isinstance(pl_module, StageModule)
        self._images = pl_module.seen
        rate = self._images / max(time.perf_counter() - self._start, 1e-9)
        epoch = self.first_epoch + trainer.current_epoch + 1
        self._bar.update(
            self._task,
            advance=1,
            description=f"{self.stage} epoch {epoch}/{self.epochs}",
            figures=f"loss {pl_module.value:.3f}  {self._validation}{rate:.0f} images/s",
        )

    def close_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """One line with the figures of a finished epoch (number within this fit, from 0)."""
        seconds = time.perf_counter() - self._start
        shown = "val_loss" if self.monitor == "last" else self.monitor
        self._validation = f"{shown} {row[shown]:.3f}  "
        figures = [f"{name} {row[name]:.4f}" for name in ("train_loss", "val_loss", "val_accuracy")]
        if shown not in ("val_loss", "val_accuracy"):
            figures.append(f"{shown} {row[shown]:.4f}")
        self.console.print(
            f"  {self.stage} {self.first_epoch + epoch + 1:>3}/{self.epochs}  "
            + "  ".join(figures)
            + f"  {self._images / seconds:.0f} images/s",
            highlight=False,
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._bar.stop()
