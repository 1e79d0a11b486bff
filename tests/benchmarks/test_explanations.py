"""The page of scored heatmaps shows what the studies' files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.explanations_page import attend_lines, short_lines
from benchmarks.explanations_sections import study_lines
from benchmarks.explanations_studies import STUDIES, train_words

from tests.reporting.explanations import content


def test_a_study_shows_every_source_and_what_the_border_gives_away(tmp_path: Path) -> None:
    study = next(s for s in STUDIES if s.name == "4class")
    (tmp_path / study.run).mkdir()
    clean = {"n": 3, "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    evaluation = {"n": 7, "metrics": clean["metrics"], "subsets": {"no copy in training": clean}}
    (tmp_path / study.run / "evaluation.json").write_text(json.dumps(evaluation))
    found = content()
    folder = tmp_path / "explanations" / study.name
    folder.mkdir(parents=True)
    stamp = {"day": "2026-01-02", "cpu": "a CPU", "threads": "1", "torch": "2"}
    (folder / "measured.json").write_text(json.dumps(stamp))
    text = "\n".join(study_lines(study, found, tmp_path))
    for source in found["score"]["sources"].values():
        assert f"| {source['title']} |" in text
    border = found["removal"]["border"]
    assert f"The border alone, all {border['n']} images: {border['accuracy']['value']:.3f}" in text
    assert f"always the most frequent class: {max(border['present'].values()) / border['n']:.3f}" in text
    assert "| same box elsewhere removed | 117 |" in text
    assert "another image's map" in text
    assert "tumorscope train brain-mri-4class-efficientnet" in text


def test_targets_are_judged_by_the_figures() -> None:
    studies = {name: content() for name in ("boxes", "boxes-attend")}
    found = studies["boxes-attend"]["score"]["sources"]["layer-cam"]["overall"]
    found["pointing"] = {"value": 0.85, "low": 0.75, "high": 0.91, "method": "m"}
    found["energy"] = {"value": 10 * studies["boxes"]["score"]["sources"]["centre"]["overall"]["energy"]["value"]}
    found["energy"] |= {"low": 0.1, "high": 0.9, "method": "m"}
    lines = short_lines(studies)
    (line,) = [line for line in lines if line.startswith("| boxes-attend |")]
    assert "met, but the interval begins below" in line
    assert "10.0 times the centre's, met" in line
    assert short_lines({"boxes": content()}) == []
    assert attend_lines(Path(), {}) == []


@pytest.mark.parametrize("run", ["boxes-fine", "boxes-attend"])
def test_the_runs_that_are_compared_differ_in_attention_alone(run: str) -> None:
    words = train_words(run, "DATA", "WEIGHTS", "OUT")
    other = train_words("boxes-fine", "DATA", "WEIGHTS", "OUT")
    unlike = {word for word in words if word not in other}
    assert unlike == (set() if run == "boxes-fine" else {"train.attend=boxes", "train.attend_weight=0.3"})
