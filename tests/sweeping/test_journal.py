from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sweeping.conftest import recipe_of
from tumorscope.sweeping.journal import JOURNAL, MOST_ATTEMPTS, Journal, Taken
from tumorscope.sweeping.processes import Worker, gone, this_process
from tumorscope.sweeping.results import last_tries
from tumorscope.sweeping.space import space_of
from tumorscope.sweeping.trial import FoldScore
from tumorscope.training.recipe import Recipe

ME = {"name": "me"}
OTHER = {"name": "other"}


def open_journal(folder: Path, recipe: Recipe | None = None) -> Journal:
    recipe = recipe or recipe_of()
    assert recipe.sweep is not None
    return Journal(folder, sweep=recipe.sweep, space=space_of(recipe), seed=0)


def score(value: float) -> FoldScore:
    return FoldScore(value, 1, 1, 0.1, 0.1, {"val_accuracy": value})


def finish(taken: Taken | None, *values: float) -> None:
    assert taken is not None
    for value in values:
        taken.note(score(value))
    taken.done(len(values))


def fill(journal: Journal) -> None:
    for slot, point in enumerate(journal.space.grid()):
        journal.put(slot, point)


def test_each_point_is_given_to_one_process(tmp_path: Path) -> None:
    one, two = open_journal(tmp_path), open_journal(tmp_path)
    fill(one)
    taken = [journal.take(ME, many=True) for journal in (one, two, two, one, one, two)]
    points = [t.point for t in taken if t is not None]
    assert points == list(one.space.grid())
    assert taken[4:] == [None, None]


def test_a_lost_trial_is_tried_again_and_counted_once(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    fill(journal)
    lost = journal.take(OTHER, many=True)
    finish(journal.take(ME, many=True), 0.5, 0.7)
    assert lost is not None
    lost.note(score(0.9))
    later = open_journal(tmp_path)
    assert later.settle(lambda worker: worker == OTHER) == 1
    assert later.settle(lambda worker: worker == OTHER) == 0
    lost.note(score(0.9))
    lost.done(2)  # the process was not dead after all: its result comes too late
    while (taken := later.take(ME, many=False)) is not None:
        finish(taken, 0.5, 0.6)
    ended = last_tries(later.entries())
    assert [(e.slot, e.state) for e in ended] == [(slot, "done") for slot in range(4)]
    assert [e.point for e in ended] == list(later.space.grid())
    assert [e.attempt for e in ended] == [2, 1, 1, 1]
    assert sum(e.state == "done" for e in later.entries()) == 4
    assert later.entries()[0].lost


def test_a_kill_between_failing_and_putting_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(tmp_path)
    journal.put(0, next(journal.space.grid()))
    journal.take(OTHER, many=False)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        journal.settle(lambda _: True)
    later = open_journal(tmp_path)
    assert [e.state for e in later.entries()] == ["failed"]
    later.settle(lambda _: True)
    assert [(e.state, e.slot) for e in later.entries()] == [("failed", 0), ("waiting", 0)]


def test_a_point_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.put(0, next(journal.space.grid()))
    for _ in range(MOST_ATTEMPTS):
        assert journal.take(OTHER, many=False) is not None
        journal.settle(lambda _: True)
    assert journal.take(OTHER, many=False) is None
    assert [e.state for e in last_tries(journal.entries())] == ["failed"]


def test_a_failure_with_a_reason_is_not_tried_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.put(0, next(journal.space.grid()))
    taken = journal.take(ME, many=False)
    assert taken is not None
    taken.failed("the training loss became nan")
    assert journal.settle(lambda _: True) == 0
    (entry,) = journal.entries()
    assert (entry.state, entry.reason, entry.lost) == ("failed", "the training loss became nan", False)


def test_a_trial_that_nobody_signed_waits_before_it_counts_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path)
    journal.put(0, next(journal.space.grid()))
    monkeypatch.setattr(journal.storage, "set_trial_user_attr", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        journal.take(ME, many=False)
    later = open_journal(tmp_path)
    assert later.entries()[0].worker is None
    assert later.settle(lambda _: True) == 0
    monkeypatch.setattr("tumorscope.sweeping.journal.UNSIGNED_S", -1.0)
    assert later.settle(lambda _: False) == 1


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    fill(journal)
    with (tmp_path / JOURNAL).open("ab") as handle:
        handle.write(b'{"op_code": 6, "wor')
    later = open_journal(tmp_path)
    finish(later.take(ME, many=False), 0.5, 0.6)
    assert [e.state for e in open_journal(tmp_path).entries()] == ["done", "waiting", "waiting", "waiting"]
    assert [e.state for e in journal.entries()] == ["done", "waiting", "waiting", "waiting"]


def test_a_point_below_the_median_is_left_early(tmp_path: Path) -> None:
    recipe = recipe_of(prune=True, space={"train.batch_size": list(range(2, 10))})
    journal = open_journal(tmp_path, recipe)
    fill(journal)
    for _ in range(6):
        finish(journal.take(ME, many=False), 0.8, 0.8)
    poor = journal.take(ME, many=False)
    assert poor is not None
    assert not poor.note(score(0.2))
    poor.done(2)
    good = journal.take(ME, many=False)
    assert good is not None
    assert good.note(score(0.9))
    assert journal.entries()[6].state == "left early"


def test_a_resumed_sampler_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    recipe = recipe_of(sampler="tpe", trials=14, space={"stage.all.lr": {"low": 1e-5, "high": 1e-1, "log": True}})
    found = []
    for name, stops in (("a", ()), ("b", (5, 12))):
        (tmp_path / name).mkdir()
        journal = open_journal(tmp_path / name, recipe)
        for slot in range(14):
            journal.put(slot, None)
        for number in range(14):
            if number in stops:
                journal = open_journal(tmp_path / name, recipe)
            taken = journal.take(ME, many=False)
            assert taken is not None
            rate = float(taken.point["stage.all.lr"])
            finish(taken, 1 - abs(rate - 1e-3), 1 - abs(rate - 1e-3))
        found.append([e.point for e in journal.entries()])
    assert found[0] == found[1]
    assert len({p["stage.all.lr"] for p in found[0]}) == 14


def test_importance_finds_the_planted_key(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.importance()[1] == {}
    fill(journal)
    while (taken := journal.take(ME, many=False)) is not None:
        value = 0.9 if taken.point["stage.all.lr"] == 3e-3 else 0.5
        finish(taken, value, value)
    method, shares = journal.importance()
    assert "ANOVA" in method
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["stage.all.lr"] > 0.9


def test_who_is_gone(tmp_path: Path) -> None:
    me = this_process("a")
    assert not gone(me.to_json(), tmp_path)
    assert gone({**me.to_json(), "started": "1"}, tmp_path)  # another process with that number
    assert gone({**me.to_json(), "pid": 2**22 + 5}, tmp_path)
    elsewhere = Worker("far", "another machine", 1, "5").to_json()
    assert gone(elsewhere, tmp_path)
    (tmp_path / "far").touch()
    assert not gone(elsewhere, tmp_path)
