"""The list of trials that all processes of a sweep share: Optuna's journal, a file that only grows.

In: points to try. Out: each of them given to one process, once. A trial whose process is gone is marked failed, and its
point is put on the list again; a point ends as done, left early, or failed for a reason that would return.

This is the only module that imports optuna; `extra.need_optuna` says what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from tumorscope.sweeping.space import Axis, Point, Space
from tumorscope.sweeping.trial import FoldScore
from tumorscope.training.recipe import Sweep

JOURNAL = "journal.log"
STUDY = "sweep"
MOST_ATTEMPTS = 3
"""A point whose process vanished so often fails: it may need more memory than there is."""
UNSIGNED_S = 30.0
"""A trial that was taken, but not signed for so long, was taken by a process that then vanished."""
FOREST_SEED = 0

STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "left early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Entry:
    """One trial of the journal.

    Attributes:
        number: Its number in the journal.
        slot: Number of its point; tries of one point share it.
        attempt: Which try it is, from 1.
        state: "done", "left early", "failed", "running" or "waiting".
        point: Values, as far as they are known.
        folds: Scores so far.
        reason: Why it failed; "" where its process vanished.
        worker: The process that took it.
        started: When, in seconds since 1970.
        finished: Likewise.
    """

    number: int
    slot: int
    attempt: int
    state: str
    point: Point
    folds: tuple[FoldScore, ...]
    reason: str
    worker: Mapping[str, Any] | None
    started: float | None
    finished: float | None

    @property
    def lost(self) -> bool:
        """True if its process vanished."""
        return self.state == "failed" and not self.reason


class _Backend(JournalFileBackend):
    """A journal whose last line may be torn: what a process wrote while it was killed is cut off."""

    def __init__(self, path: Path) -> None:
        self.lock = JournalFileOpenLock(str(path))
        super().__init__(str(path), lock_obj=self.lock)
        self.path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records; a torn line before them goes first, as nobody has read it."""
        with self.path.open("rb") as handle:
            end = handle.seek(0, os.SEEK_END)
            torn = False
            if end:
                handle.seek(end - 1)
                torn = handle.read(1) != b"\n"
        if torn:
            self.mend()
        super().append_logs(logs)

    def mend(self) -> None:
        """Cut a torn last line off."""
        self.lock.acquire()
        try:
            data = self.path.read_bytes()
            if data and not data.endswith(b"\n"):
                with self.path.open("r+b") as handle:
                    handle.truncate(data.rfind(b"\n") + 1)
        finally:
            self.lock.release()


class Journal:
    """The shared list of trials.

    Args:
        folder: Folder of the sweep.
        sweep: The recipe's table: sampler, direction, pruning.
        space: What is tried.
        seed: Root of what a sampler draws.
    """

    def __init__(self, folder: Path, *, sweep: Sweep, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.space, self.seed = sweep, space, seed
        self.maximise = sweep.metric != "val_loss"
        # an absolute name: the lock stands beside it, whatever the working folder
        self.storage = JournalStorage(_Backend(folder.resolve() / JOURNAL))
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=STUDY,
            direction="maximize" if self.maximise else "minimize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )
        self._id = self.storage.get_study_id_from_name(STUDY)
        self._unsigned: dict[int, float] = {}
        self._ended: dict[int, Entry] = {}

    def entries(self) -> list[Entry]:
        """All trials, tries that were lost included, in the order they were put on the list."""
        found = []
        for trial in self.storage.get_all_trials(self._id, deepcopy=False):
            entry = self._ended.get(trial.number) or _entry(trial)
            if trial.state.is_finished():
                self._ended[trial.number] = entry
            found.append(entry)
        return found

    # --- the parent's side

    def put(self, slot: int, point: Point | None, *, attempt: int = 1) -> None:
        """Put a point on the list; None leaves its values to the sampler."""
        self.study.enqueue_trial(dict(point or {}), user_attrs={"slot": slot, "attempt": attempt})

    def settle(self, gone: Callable[[Mapping[str, Any]], bool]) -> int:
        """Mark trials of vanished processes failed and put their points on the list again.

        Only one process may do so. A kill in between loses nothing: what stands nowhere else is put back by the next
        call.

        Returns:
            How many trials were found lost.
        """
        found = 0
        for entry in self.entries():
            if entry.state == "running" and self._vanished(entry, gone):
                try:
                    self.storage.set_trial_state_values(self._trial_id(entry.number), TrialState.FAIL)
                    found += 1
                except UpdateFinishedTrialError:
                    pass  # it ended after all
        tries: dict[int, list[Entry]] = {}
        for entry in self.entries():
            tries.setdefault(entry.slot, []).append(entry)
        for slot, entries in tries.items():
            if all(e.lost for e in entries) and len(entries) < MOST_ATTEMPTS:
                # a point that a sampler chose is kept: trying another one would favour what does not crash
                self.put(slot, max((e.point for e in entries), key=len) or None, attempt=len(entries) + 1)
        return found

    def _vanished(self, entry: Entry, gone: Callable[[Mapping[str, Any]], bool]) -> bool:
        if entry.worker is not None:
            return gone(entry.worker)
        since = self._unsigned.setdefault(entry.number, time.monotonic())
        return time.monotonic() - since > UNSIGNED_S

    # --- a worker's side

    def take(self, worker: Mapping[str, Any], *, many: bool) -> Taken | None:
        """The next waiting trial, for this process alone; None if there is none.

        Args:
            worker: What the trial is signed with.
            many: Other processes work at the same time.
        """
        for waiting in self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.WAITING,)):
            trial_id = self._trial_id(waiting.number)
            try:
                if not self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    continue
                self.storage.set_trial_user_attr(trial_id, "worker", dict(worker))
                # a study of its own: one that is kept remembers the trials of its first look
                study = optuna.load_study(
                    study_name=STUDY,
                    storage=self.storage,
                    sampler=self._sampler(int(waiting.user_attrs["slot"]), many=many),
                    pruner=self._pruner(),
                )
                trial = Trial(study, trial_id)
                point = {axis.key: _suggest(trial, axis) for axis in self.space.axes}
            except UpdateFinishedTrialError:
                continue
            return Taken(self, trial, trial_id, point)
        return None

    def _sampler(self, slot: int, *, many: bool) -> optuna.samplers.BaseSampler:
        """A sampler that depends on the slot and on the trials before it alone, so that a resumed sweep goes on."""
        seed = int(np.random.SeedSequence([self.seed, 0x7BE, slot]).generate_state(1)[0])
        if self.sweep.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=many)
        return optuna.samplers.RandomSampler(seed=seed)

    def _pruner(self) -> optuna.pruners.BasePruner:
        return optuna.pruners.MedianPruner(n_startup_trials=5) if self.sweep.prune else optuna.pruners.NopPruner()

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._id, number)

    # --- afterwards

    def importance(self) -> tuple[str, dict[str, float]]:
        """How the shares were made, and the share of each key in the variance of the scores, summing to one.

        By functional analysis of variance over a random forest (Hutter et al. 2014); empty where there is too little
        to tell, and the first value then says why.
        """
        done = [e for e in self.entries() if e.state == "done"]
        varied = [a.key for a in self.space.axes if len({repr(e.point.get(a.key)) for e in done}) > 1]
        if len(done) < 2 * max(2, len(varied)) or not varied:
            return f"too few points for a statement: {len(done)} done, {len(varied)} keys that vary among them", {}
        if len({float(np.mean([f.value for f in e.folds])) for e in done}) == 1:
            return "all points have the same score", {}
        evaluator = FanovaImportanceEvaluator(seed=FOREST_SEED)
        shares = get_param_importances(self.study, evaluator=evaluator, params=varied)
        return "functional ANOVA over a random forest (Hutter et al. 2014)", {k: float(v) for k, v in shares.items()}


class Taken:
    """A trial that this process works at."""

    def __init__(self, journal: Journal, trial: Trial, trial_id: int, point: Point) -> None:
        self.journal, self.point = journal, point
        self._trial, self._id = trial, trial_id
        self._scores: list[FoldScore] = []

    def note(self, score: FoldScore) -> bool:
        """Keep a fold's score; False if the pruner says that the rest is not worth it."""
        self._scores.append(score)
        try:
            self._trial.set_user_attr("folds", [s.to_json() for s in self._scores])
            self._trial.report(self._mean(), step=len(self._scores))
        except UpdateFinishedTrialError:
            return False  # taken for vanished meanwhile: another process tries the point again
        return not self._trial.should_prune()

    def done(self, folds: int) -> None:
        """End it: done if every fold has a score, else left early."""
        state = TrialState.COMPLETE if len(self._scores) == folds else TrialState.PRUNED
        self._end(state, [self._mean()])

    def failed(self, reason: str) -> None:
        """End it as failed, for a reason that would return."""
        try:
            self._trial.set_user_attr("reason", reason[:500] or "no reason given")
        except UpdateFinishedTrialError:
            return
        self._end(TrialState.FAIL, None)

    def _mean(self) -> float:
        return float(np.mean([s.value for s in self._scores]))

    def _end(self, state: TrialState, values: Sequence[float] | None) -> None:
        # taken for vanished meanwhile: the other try counts
        with suppress(UpdateFinishedTrialError):
            self.journal.storage.set_trial_state_values(self._id, state, values)


def _suggest(trial: Trial, axis: Axis) -> Any:
    if axis.choices:
        return trial.suggest_categorical(axis.key, list(axis.choices))
    if axis.whole:
        return trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(axis.key, float(axis.low), float(axis.high), log=axis.log)


def _entry(trial: FrozenTrial) -> Entry:
    kept = trial.user_attrs
    return Entry(
        number=trial.number,
        slot=int(kept["slot"]),
        attempt=int(kept.get("attempt", 1)),
        state=STATES[trial.state],
        point={**trial.system_attrs.get("fixed_params", {}), **trial.params},
        folds=tuple(FoldScore(**one) for one in kept.get("folds", ())),
        reason=str(kept.get("reason", "")),
        worker=kept.get("worker"),
        started=_seconds(trial.datetime_start),
        finished=_seconds(trial.datetime_complete),
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
