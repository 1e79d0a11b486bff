"""The paragraph at the head of the page says what the figures say, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reporting.explanations import content, estimate
from tumorscope.reporting.contract import Est
from tumorscope.reporting.contract_explanations import HeatScore
from tumorscope.reporting.explanations_verdict import change, methods, standing, tone, verdict

BEST, RIVAL = "layer-cam", "mean-box"


def of(**changes: Any) -> HeatScore:
    """The usual score; `gap` and `last` replace the best method's gap to its best control and its last correlation."""
    found: dict[str, Any] = content()["score"]
    if "gap" in changes:
        found["gaps"][BEST][RIVAL]["energy"] = changes["gap"]
    if "last" in changes:
        found["cascade"][BEST][-1]["similarity"] = changes["last"]
    return HeatScore.model_validate(found)


NO_INTERVAL = {"value": 0.2, "low": None, "high": None, "method": ""}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.1, "better"),
        (0.0, 0.1, "same"),
        (-0.1, 0.1, "same"),
        (-0.1, 0.0, "same"),
        (-0.2, -0.1, "worse"),
        (None, 0.1, "unknown"),
    ],
)
def test_better_needs_an_interval_above_zero(low: float | None, high: float | None, expected: str) -> None:
    assert tone(Est(value=0.05, low=low, high=high)) == expected


def test_no_gap_is_not_known() -> None:
    assert tone(None) == "unknown"


def test_better_than_every_control() -> None:
    found = verdict(of())
    assert (found.tone, found.tag) == ("better", "Better than every control")
    assert found.text == (
        "Of 3 methods, Layer-CAM was chosen on validation images; it has this share of its heat in the boxes: 45.1% "
        "(42.0 to 48.5%). "
        "Of its controls, “where training boxes lie” has the most: 26.8%. "
        "Layer-CAM is better than every one of its 6 controls: each paired interval lies above zero. "
        "Random weights change its maps: with all weights drawn anew, their rank correlation with the trained"
        " model’s is 0.16 (0.13 to 0.19). Random weights hardly change the maps of Integrated Gradients."
    )


@pytest.mark.parametrize(
    ("gap", "expected", "words"),
    [
        (estimate(0.02, 0.05), "same", "better than 5 of its 6 controls, but not distinguishable from “where training"),
        (estimate(-0.2, 0.05), "worse", "better than 5 of its 6 controls, but worse than “where training boxes lie”."),
        (
            NO_INTERVAL,
            "unknown",
            "better than 5 of its 6 controls, but no interval against “where training boxes lie”.",
        ),
    ],
)
def test_one_control_is_enough_to_deny_it(gap: dict[str, Any], expected: str, words: str) -> None:
    found = verdict(of(gap=gap))
    assert found.tone == expected
    assert words in found.text
    assert "every one" not in found.text


@pytest.mark.parametrize(
    ("last", "expected", "tag", "words"),
    [
        (
            estimate(0.1, 0.05),
            "better",
            "Better than every control",
            "Random weights change its maps: with all weights drawn anew",
        ),
        (
            estimate(0.5, 0.05),
            "same",
            "Passes the sanity check only in part",
            "Random weights change its maps only in part",
        ),
        (
            estimate(0.8, 0.05),
            "worse",
            "Fails the sanity check",
            "Random weights hardly change its maps, which then show the image",
        ),
        (NO_INTERVAL, "unknown", "Without a sanity check", "Whether random weights change its maps is not known."),
    ],
)
def test_what_random_weights_do_is_said(last: dict[str, Any], expected: str, tag: str, words: str) -> None:
    score = of(last=last)
    assert change(score.cascade[BEST]) == expected
    found = verdict(score)
    assert (found.tone, found.tag) == (expected, tag)
    assert words in found.text


def test_a_control_that_is_not_beaten_counts_more_than_the_sanity_check() -> None:
    found = verdict(of(gap=estimate(-0.2, 0.05), last=estimate(0.8, 0.05)))
    assert found.tag == "Worse than a control"
    assert "hardly change its maps" in found.text


def test_a_cascade_that_stops_early_says_where() -> None:
    found: dict[str, Any] = content()["score"]
    found["cascade"][BEST] = found["cascade"][BEST][:3]
    assert "with 6 of 10 parameter groups drawn anew" in verdict(HeatScore.model_validate(found)).text


def test_the_best_is_named_by_heat_in_the_boxes() -> None:
    found: dict[str, Any] = content()["score"]
    assert methods(HeatScore.model_validate(found)) == ["layer-cam", "grad-cam", "integrated-gradients"]
    found["sources"]["grad-cam"]["overall"]["energy"]["value"] = 0.9
    assert methods(HeatScore.model_validate(found)) == ["layer-cam", "grad-cam", "integrated-gradients"]
    found.update(best="", best_by="")
    found["sources"]["layer-cam"]["overall"]["energy"]["value"] = None
    score = HeatScore.model_validate(found)
    assert methods(score) == ["grad-cam", "integrated-gradients", "layer-cam"]
    assert verdict(score).text.startswith(
        "Of 3 methods, Grad-CAM has the largest share of its heat in the boxes: 90.0%"
    )


def test_one_method_is_not_the_best_of_many() -> None:
    found: dict[str, Any] = content()["score"]
    keep = {"grad-cam", "uniform"}
    found["sources"] = {k: v for k, v in found["sources"].items() if k in keep}
    found["gaps"] = {"grad-cam": {"uniform": found["gaps"]["grad-cam"]["uniform"]}}
    found["cascade"] = {}
    text = verdict(HeatScore.model_validate(found)).text
    assert text.startswith("Grad-CAM has this share of its heat in the boxes: 40.2%")
    assert "better than its only control: the paired interval lies above zero." in text


def test_without_any_value_there_is_no_best() -> None:
    found: dict[str, Any] = content()["score"]
    for source in found["sources"].values():
        source["overall"].pop("energy")
    assert verdict(HeatScore.model_validate(found)).tone == "unknown"


def test_standings_count_every_control_once() -> None:
    score = of()
    for name in score.gaps:
        for measure in score.measures:
            assert standing(score, name, measure).total == len(score.gaps[name])
    assert standing(score, "integrated-gradients", "ap50").mark == "≈ 5 of 6"
    assert standing(score, "uniform", "energy").tone == "unknown"
    assert standing(score, "uniform", "energy").mark == ""
    assert standing(score, "uniform", "energy").words == "compared with no control"
