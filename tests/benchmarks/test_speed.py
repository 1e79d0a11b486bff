"""Both loops train a small work from the same files, and the page's figures are those of the turns."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from benchmarks.speed import inference, ours, seed_loop
from benchmarks.speed.__main__ import BACKENDS
from benchmarks.speed.accuracy import fold_of
from benchmarks.speed.figures import figures
from benchmarks.speed.page import growth_curve, page
from benchmarks.speed.page import inference as answers
from benchmarks.speed.page_accuracy import reach
from benchmarks.speed.peak import image_gflop
from benchmarks.speed.turns import fastest, over_seeds, ratio
from benchmarks.speed.works import WORKS, Job, Work, job_of
from PIL import Image

from tests.scans import class_folders
from tumorscope.imaging.augment import AugmentParams, move
from tumorscope.training.plan import Wishes


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Job:
    root = class_folders(tmp_path_factory.mktemp("data") / "my scans", per_class=16)
    work = Work(
        name="small",
        title="Small",
        data="my scans",
        model="tinyvgg",
        trainable="all",
        epochs=2,
        train=16,
        val=8,
        target=1,
        batch_size=8,
        size_px=32,
    )
    made = job_of(work, root)
    return replace(made, test=made.val)


def test_an_epoch_is_the_median_after_the_first() -> None:
    start = time.perf_counter()
    assert figures(start, [9.0, 1.0, 2.0, 6.0])["epoch"] == 2
    assert figures(start, [9.0, 1.0, 3.0])["epoch"] == 2
    assert figures(start, [9.0])["epoch"] == 9
    assert figures(start, [9.0, 1.0])["epochs"] == [9.0, 1.0]


def test_both_loops_train_the_same_images(small: Job) -> None:
    fixed = Wishes("fp32", "contiguous", 1, False)
    found = {"theirs": seed_loop.run(small, 0), "ours": ours.run(small, fixed)}
    for row in found.values():
        assert len(row["epochs"]) == 2
        assert row["whole"] >= row["first"] > 0
        assert 0 <= row["accuracy"] <= 1
    assert found["ours"]["plan_s"] >= 0
    assert found["ours"]["val_accuracy"] == found["ours"]["history"][-1]


def test_folds_hold_out_every_image_once(small: Job) -> None:
    folds = [fold_of(small, fold) for fold in range(3)]
    assert sorted(row for job in folds for row in job.test) == sorted([*small.train, *small.val])
    for job in folds:
        assert len(job.train) == small.work.train
        assert not set(job.train) & set(job.test)


def test_the_baseline_stops_at_the_mark(small: Job) -> None:
    assert len(seed_loop.run(small, 0, until=0.0)["history"]) == 1
    both = seed_loop.run(small, 0, until=1.1)
    assert len(both["history"]) == 2
    assert all(0 <= value <= 1 for value in both["history"])


def test_mirrored_turning_is_ours() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    pad, turn, cut = seed_loop.turning(28, mirrored=True)
    turn.degrees = [7.0, 7.0]
    theirs = np.asarray(cut(turn(pad(Image.fromarray(picture)))), dtype=np.float32)
    cos, sin = math.cos(math.radians(7)), math.sin(math.radians(7))
    affine = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
    drawn = AugmentParams(affine, torch.ones(1), torch.zeros(1), torch.zeros(1, 4))
    own = move(torch.from_numpy(picture)[None, None].float(), drawn)[0, 0].numpy()
    assert np.abs(own - theirs).max() <= 1  # theirs are whole gray levels
    (plain,) = seed_loop.turning(28, mirrored=False)
    assert (plain.interpolation.value, plain.fill) == ("nearest", 0)


def _course(history: list[float], whole: float) -> dict[str, Any]:
    return {"history": history, "whole": whole, "epoch": whole / 2, "peak_mb": 1000.0, "train": 90, "val": 30}


def test_time_to_the_mark_is_measured_not_composed() -> None:
    sides = {"baseline": _course([0.9, 0.99], 600), "ours-0": _course([0.95, 0.985], 100)}
    assert reach({"reach": sides}) == []  # two seeds are missing
    sides |= {"ours-1": _course([0.95, 0.981], 120), "ours-2": _course([0.95, 0.97], 90)}
    text = reach({"reach": sides})
    assert not any("Short" in line for line in text)  # 600 s against 100
    slow = {"reach": sides | {key: _course([0.95, 0.99], 125) for key in ("ours-0", "ours-1")}}
    assert "4.8 of 5. The baseline needs 2 epochs of 300 s, ours 2 of 62 s" in reach(slow)[-1]
    lines = [line for line in text if line.startswith("| tumorscope")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [(row[3], row[4]) for row in cells] == [("1.7", "6.0"), ("2.0", "5.0"), ("1.5", "not reached")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_way_to_compute_a_batch_is_timed(backend: str) -> None:
    found = inference.measure("mobilenetv2_100", backend, 2)
    assert found["rate"] > 0
    assert found["backend"] == {"eager": "eager float32"}.get(backend, found["backend"])
    if backend not in ("eager", "auto"):
        assert found["backend"] == backend


def test_growth_is_drawn(tmp_path: Path) -> None:
    sides = {"1000": (2.0, 1.0), "4000": (8.0, 4.0)}
    found = {"growth": {n: {"baseline": {"epoch": a}, "ours": {"epoch": b}} for n, (a, b) in sides.items()}}
    drawn = ElementTree.fromstring(growth_curve(found))
    space = "{http://www.w3.org/2000/svg}"
    assert drawn.tag == f"{space}svg"
    assert {"baseline", "tumorscope"} <= {text.text for text in drawn.iter(f"{space}text")}
    ours = [dot for dot in drawn.iter(f"{space}circle") if dot.get("class") == "dot c2"]
    (x0, y0), (x1, y1) = ((float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in ours)
    origin = next(path for path in drawn.iter(f"{space}path") if path.get("class") == "axis").attrib["d"]
    left, bottom = map(float, origin.removeprefix("M").split("L")[0].split())
    assert (x1 - left) / (x0 - left) == pytest.approx(4, rel=0.01)
    assert (bottom - y1) / (bottom - y0) == pytest.approx(4, rel=0.01)


def _turns(seconds: list[float], **more: Any) -> list[dict[str, Any]]:
    return [{"whole": s, "first": s / 2, "epoch": s / 4, "peak_mb": 1000.0, "frozen": "", **more} for s in seconds]


def test_figures_of_the_page_are_those_of_the_turns(tmp_path: Path) -> None:
    row = {"what": "epoch", "baseline": _turns([8, 12]), "ours": _turns([4, 2], plan="cpu, bf16")}
    assert ratio(row, "ours", "epoch") == "3.3 (2.0 to 6.0)"
    assert fastest(row | {"compiled": _turns([1, 1])}) == "compiled"
    assert over_seeds([0.01, 0.03]) == "+0.020 (-0.107 to +0.147)"
    stamp = {"day": "2026-01-02", "cpu": "a CPU", "threads": "2", "torch": "2"}
    found = {
        "works": {work.name: row for work in WORKS},
        "measured": {"works": {work.name: stamp for work in WORKS}},
    }
    place = tmp_path / "page.md"
    place.write_text("# Speed\n\n## Batch inference\n\nas it stood\n")
    text = page(found, place)
    line = next(line for line in text.splitlines() if line.startswith("| tinyvgg |"))
    assert "| 2.50 | 0.75 | 3.3 (2.0 to 6.0) | 2 | 5 |" in line
    assert "tinyvgg (3.3 of 5)" in text
    assert "as it stood" in text  # what was not measured again


def test_a_miss_of_inference_is_held_against_the_machine() -> None:
    turns = {
        name: [{"rate": rate, "backend": name, "peak_mb": 1.0}] * 2 for name, rate in (("eager", 10.0), ("auto", 25.0))
    }
    quick = turns | {"auto": [{"rate": 40.0, "backend": "openvino", "peak_mb": 1.0}] * 2}
    found = {
        "peak": {"fp32_gflops": 160.0, "image_gflop": {"resnet50": 8.0, "efficientnet_b0": 0.8}},
        "inference": {"resnet50": turns, "efficientnet_b0": quick},
    }
    notes = [line for line in answers(found) if line.startswith("- Short")]
    assert len(notes) == 1
    assert "resnet50 (2.5 of 3)" in notes[0]
    assert "does 80 GFLOP/s of the 160" in notes[0]
    assert "the ratio would be 2.0" in notes[0]


def test_the_arithmetic_of_an_answer_is_counted() -> None:
    # ResNet-50 takes 4.1 billion multiply-adds for a colour image of 224 px; one gray channel saves 0.08 of them
    assert image_gflop("resnet50") == pytest.approx(8.02, rel=0.01)
