from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.reporting.page import Page
from tests.reporting.sweeps import planted, write_sweep
from tests.reporting.test_browser import Scheme, look
from tests.reporting.test_escape import EVIL, poison
from tumorscope.api import report
from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json, write_json
from tumorscope.reporting.contract_sweep import SweptKey
from tumorscope.reporting.sweep_figures import scale_of, short_names, value_text
from tumorscope.reporting.sweep_page import minutes, render_sweep
from tumorscope.reporting.words import decimal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_sweep(tmp_path_factory.mktemp("sweeps") / "a")
    render_sweep(made)
    return made


def page_of(folder: Path) -> Page:
    return Page.of(render_sweep(folder).read_text(encoding="utf-8"))


def test_a_page_says_what_was_planted(folder: Path) -> None:
    page = page_of(folder)
    assert page.faults == []
    text = page.text
    for said in (
        "16 points",
        "3 folds of 624 training and validation images",
        "0.900",
        "4 points lie within one standard error of the best",
        "Believe the test result",
        "Left early 1",
        "Tried again after a process vanished 1",
        "Point 17: loss became nan",
        "stage.all.epochs all points 25",
        "augment.scale all points 0.9, 1.1",
        "functional ANOVA over a random forest",
        "93.0%",
        "5 min 1 s",
        "The test part was opened for this point alone",
        "tumorscope sweep breastmnist-cnn --data 'my data.npz' --out SWEEP",
    ):
        assert said in text, said
    test = read_json(folder / "winner" / "summary.json")["test"]["metrics"]["auroc"]["mean"]
    assert text.count(decimal(test["value"])) >= 2
    assert [e.attributes["href"] for e in page.all("a") if "winner" in e.attributes["href"]] == [
        "./winner/summary.html"
    ]
    assert not page.all("script")
    charts = [e.attributes["aria-label"] for e in page.all("svg") if "aria-label" in e.attributes]
    assert len(charts) == 5
    assert "0.001: mean 0.889 of 6 points" in " ".join(charts)
    shares = [w for w in page.words if re.fullmatch(r"\d+\.\d%", w)]
    assert shares[-3:] == ["93.0%", "6.0%", "1.0%"] or "93.0%" in shares
    assert len(page.all("tr")) > 18


def test_the_same_files_give_the_same_page(folder: Path) -> None:
    assert render_sweep(folder).read_bytes() == render_sweep(folder).read_bytes()


def test_the_report_verb_renders_a_sweep_again(folder: Path) -> None:
    page = folder / "sweep.html"
    made = page.read_bytes()
    page.unlink()
    assert report(folder) == page
    assert page.read_bytes() == made


def test_points_stand_best_first(folder: Path) -> None:
    text = page_of(folder).text
    table = text[text.index("All points with the score") :]
    slots = [int(n) for n in re.findall(r"(?<=\s)(\d+)(?: try 2)? 0\.\d{3} ±", table)]
    assert slots[:4] == [0, 3, 1, 4]
    assert table.index("left early") < table.index("failed")


def test_without_a_winner_the_page_says_what_to_do(tmp_path: Path) -> None:
    text = page_of(write_sweep(tmp_path, winner=False)).text
    assert "not yet trained and tested" in text
    assert "on the test images" not in text
    # a run of another point than the best is not shown as its result
    other = write_sweep(tmp_path / "other", winners=[{"folder": "winner", "slot": 5}])
    assert "not yet trained and tested" in page_of(other).text
    outside = write_sweep(tmp_path / "outside", winners=[{"folder": "../other/winner", "slot": 0}])
    assert "not yet trained and tested" in page_of(outside).text


def test_a_second_winner_is_confessed(tmp_path: Path) -> None:
    winners = [{"folder": "winner-old", "slot": 3}, {"folder": "winner", "slot": 0}]
    assert "opened for 2 winners" in page_of(write_sweep(tmp_path, winners=winners)).text


def test_a_loss_one_part_and_ranges(tmp_path: Path) -> None:
    content = planted(metric="val_loss", folds=1, sampler="tpe", points=None)
    content["space"] = [
        {"key": "stage.all.lr", "low": 1e-5, "high": 1e-1, "log": True},
        {"key": "train.label_smoothing", "low": 0.0, "high": 0.5, "log": False},
    ]
    for number, trial in enumerate(content["trials"]):
        trial["point"] = {"stage.all.lr": 10.0 ** -(1 + 4 * number / 17), "train.label_smoothing": number / 40}
        trial["se"] = None
        trial["folds"] = trial["folds"][:1]
    content["best"] = content["trials"][15]
    write_json(tmp_path / "sweep.json", content)
    page = page_of(tmp_path)
    assert page.faults == []
    assert "one validation part" in page.text
    assert "standard error" not in page.text.partition("Which keys")[0]
    assert "tree-structured Parzen estimator" in page.text


def test_one_point_of_one_key(tmp_path: Path) -> None:
    content = planted()
    content["space"] = content["space"][:1]
    content["trials"] = content["trials"][:1]
    content["importance"] = {"method": "too few points for a statement: 1 done", "shares": {}}
    write_json(tmp_path / "sweep.json", content)
    page = page_of(tmp_path)
    assert page.faults == []
    assert "Not computed: too few points" in page.text
    assert "Parallel coordinates" not in page.text


def test_names_from_the_recipe_are_text(tmp_path: Path) -> None:
    content = planted()
    kept = {k: content[k] for k in ("metric", "sampler")}
    states = [t["state"] for t in content["trials"]]
    content = poison(content) | kept
    for trial, state in zip([*content["trials"], content["best"]], [*states, "done"], strict=True):
        trial["state"] = state
    write_json(tmp_path / "sweep.json", content)
    text = render_sweep(tmp_path).read_text(encoding="utf-8")
    assert Page.of(text).faults == []
    assert "<script" not in text.lower()
    assert text.count("</style>") == 1
    assert EVIL.partition("<")[0] in text


@pytest.mark.parametrize("damage", [{"trials": "none"}, {"metric": 3}, {"best": None}, {"folds": "three"}])
def test_a_damaged_record_is_named(damage: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "sweep.json", planted(**damage))
    with pytest.raises(DataError, match=next(iter(damage))):
        render_sweep(tmp_path)


def test_a_missing_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sweep\.json is missing"):
        render_sweep(tmp_path)


def test_names_are_as_short_as_they_can_be() -> None:
    keys = ["stage.top.lr", "stage.base.lr", "train.batch_size"]
    assert list(short_names(keys).values()) == ["top.lr", "base.lr", "batch_size"]


def test_scales() -> None:
    listed = scale_of(SweptKey(key="k", choices=(1e-3, 1e-5, 1e-4)))
    assert [words for _, words in listed.marks] == ["1e-05", "0.0001", "0.001"]
    assert listed.place(1e-5) < listed.place(1e-4) < listed.place(1e-3)
    log = scale_of(SweptKey(key="k", low=1e-5, high=1e-1, log=True))
    assert log.place(1e-3) == pytest.approx(0.5)
    assert (value_text(True), value_text(None), value_text(0.25)) == ("true", "–", "0.25")
    assert (minutes(5.25), minutes(59), minutes(61), minutes(7325)) == ("5.2 s", "59 s", "1 min 1 s", "2 h 2 min")


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_quiet_page_that_fits(width: int, scheme: Scheme, browser: Browser, folder: Path) -> None:
    paper = "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)"
    found = look(browser, folder / "sweep.html", width=width, scheme=scheme)
    assert found == {"overflow": 0, "broken": 0, "cut": 0, "paper": paper, "noise": []}
