from __future__ import annotations

from typing import Any

from tumorscope.reporting.contract import Bin, ClassCurves, Est, Stage
from tumorscope.reporting.figures import best_epochs, class_curves, learning_curves, look, reliability
from tumorscope.reporting.load import Epoch


def epoch(number: int, stage: str = "all", **figures: Any) -> Epoch:
    known: dict[str, Any] = dict.fromkeys(("lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"))
    return Epoch(stage=stage, epoch=number, **{**known, **figures})


def stage(name: str, best: int | None) -> Stage:
    return Stage.model_validate({"name": name, "best_epoch": best})


def curves() -> ClassCurves:
    return ClassCurves.model_validate(
        {
            "roc": {"fpr": [0, 0, 0.5, 1], "tpr": [0, 0.6, 1, 1]},
            "pr": {"recall": [0, 0.6, 1], "precision": [1, 1, 0.4]},
        }
    )


def test_learning_curves_mark_stages_and_the_epoch_kept() -> None:
    epochs = [
        epoch(i, "head" if i < 3 else "all", train_loss=1 / i, val_loss=1.1 / i, val_accuracy=0.5) for i in range(1, 6)
    ]
    loss, accuracy = learning_curves(epochs, [stage("head", None), stage("all", 4)])
    assert (loss.title, accuracy.title) == ("Loss", "Accuracy")
    assert loss.drawings[0].count('class="border"') == 1
    assert loss.drawings[0].count('class="best"') == 1
    assert "all: best epoch 4, 0.275" in loss.drawings[0]
    assert "validation from 1.100 to 0.220" in loss.drawings[0]
    assert [w for _, w in loss.legend] == ["training", "validation", "epoch kept", "next stage"]


def test_a_best_epoch_outside_its_stage_is_not_marked() -> None:
    assert best_epochs([epoch(1, "head"), epoch(2, "all")], [stage("head", 2), stage("all", 2)]) == {2: "all"}


def test_a_missing_figure_leaves_a_gap() -> None:
    values = [0.9, 0.8, None, 0.7, 0.6]
    (loss,) = learning_curves([epoch(i, val_loss=v) for i, v in enumerate(values, 1)], [])
    assert loss.drawings[0].count('<path class="line c2"') == 2


def test_one_epoch_is_a_dot() -> None:
    (loss,) = learning_curves([epoch(1, val_loss=0.5)], [])
    assert loss.drawings[0].count("<circle") == 1


def test_nothing_logged_is_no_figure() -> None:
    assert learning_curves([], []) == ()
    assert learning_curves([epoch(1)], []) == ()


def test_two_classes_show_the_positive_one() -> None:
    both = {"ill": curves(), "well": curves()}
    roc, pr = class_curves(
        both, positive="ill", areas={"ill": Est(value=0.9, low=0.8, high=0.95)}, shares={"ill": 0.25}
    )
    assert [w for _, w in roc.legend] == ["ill: AUROC 0.900 (0.800 to 0.950)", "guessing"]
    assert [w for _, w in pr.legend] == ["ill: 25.0% of images", "guessing"]


def test_every_class_of_several_has_its_own_look() -> None:
    many = {f"class {i}": curves() for i in range(20)}
    roc, _ = class_curves(many, positive=None, areas={}, shares={})
    looks = [k for k, _ in roc.legend[:-1]]
    assert len(set(looks)) == 20
    assert looks[8] == f"line {look(8)}" == "line c1 dashed"


def test_a_class_without_curves_is_left_out() -> None:
    roc, _ = class_curves({"a": None, "b": curves(), "c": ClassCurves()}, positive=None, areas={}, shares={})
    assert [w for _, w in roc.legend] == ["b", "guessing"]
    assert class_curves({"a": None}, positive=None, areas={}, shares={}) == ()


def test_reliability_shows_filled_bins_with_counts_and_intervals() -> None:
    filled = {
        "low": 0.8,
        "high": 1.0,
        "n": 31,
        "confidence": 0.9,
        "accuracy": {"value": 0.7, "low": 0.5, "high": 0.8},
    }
    bins = [Bin(low=0.6, high=0.8, n=0), Bin.model_validate(filled)]
    figure = reliability(bins)
    assert figure is not None
    above, below = figure.drawings
    assert above.count('class="dot c1"') == 1
    assert above.count('class="whisker c1"') == 1
    assert "confidence 90.0%: 70.0% of 31 answers right" in above
    assert ">31</text>" in below


def test_no_filled_bin_is_no_figure() -> None:
    assert reliability([Bin(low=0, high=1, n=0)]) is None
