"""`audit`, `split`, `leak-price`, and the gate of `train`, as a user calls them."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from tests.auditing.leak_data import changed, clean, copy
from tests.test_cli import TINY, call, call_main
from tumorscope.core.files import read_json


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = clean(tmp_path_factory.mktemp("with space") / "my scans", train=10, test=5)
    copy(root, "Training/glioma/00.png", "Testing/glioma/leak.png")
    changed(root, "Testing/notumor/00.png", "Training/glioma/twin.jpg", "mirrored")
    (root.parent / "tiny.toml").write_text(TINY)
    return root


def test_audit_writes_its_files_and_leaves_with_one(leaky: Path, tmp_path: Path) -> None:
    code, out = call("audit", leaky, "--out", tmp_path / "audit")
    assert code == 1
    assert "LEAK011" in out
    assert "LABEL002" in out
    found = read_json(tmp_path / "audit" / "audit.json")
    assert found["data"]["images"] == 32
    assert found["pairs"]["exact"] == 1
    assert found["pairs"]["mirrored"] >= 1
    with (tmp_path / "audit" / "pairs.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == [
        "image_a",
        "image_b",
        "kind",
        "score",
        "mirrored",
        "split_a",
        "split_b",
        "label_a",
        "label_b",
    ]
    exact = next(r for r in rows if r["kind"] == "exact")
    assert {exact["image_a"], exact["image_b"]} == {"Testing/glioma/leak.png", "Training/glioma/00.png"}
    twin = next(r for r in rows if r["kind"] == "near")
    assert (twin["mirrored"], {twin["label_a"], twin["label_b"]}) == ("true", {"glioma", "notumor"})
    assert (tmp_path / "audit" / "audit.html").stat().st_size > 10_000


def test_audit_as_json_is_the_file(leaky: Path, tmp_path: Path) -> None:
    code, out = call("audit", leaky, "--out", tmp_path, "--json")
    assert code == 1
    written = read_json(tmp_path / "audit.json")
    assert {**json.loads(out), "command": ""} == {**written, "command": ""}


def test_train_refuses_and_both_ways_out_work(
    leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = leaky.parent / "tiny.toml"
    arguments: list[str | Path] = ["train", recipe, "--data", leaky, "--out", tmp_path / "run"]
    assert call_main(monkeypatch, *arguments) == 3
    assert "--accept-leaks" in capsys.readouterr().err
    code, _ = call(*arguments, "--policy", "deduplicated")
    assert code == 0
    run = read_json(tmp_path / "run" / "run.json")
    assert run["stamps"] == []
    assert "data.policy=deduplicated" in run["command"]
    code, _ = call("train", recipe, "--data", leaky, "--out", tmp_path / "run2", "--accept-leaks")
    assert code == 0
    stamped = read_json(tmp_path / "run2" / "run.json")
    assert stamped["stamps"][0].startswith("Leaks accepted")
    assert "--accept-leaks" in shlex.split(stamped["command"])
    assert "Leaks accepted" in (tmp_path / "run2" / "report.html").read_text(encoding="utf-8")


def test_split_policies_and_folds(leaky: Path, tmp_path: Path) -> None:
    code, out = call("split", leaky, "--out", tmp_path / "clean.json", "--policy", "deduplicated", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["policy"] == "deduplicated"
    assert sum(row["counts"]["test"].values()) == 11
    code, out = call("audit", leaky, "--split", tmp_path / "clean.json", "--json")
    outcome = {f["code"]: f["outcome"] for f in json.loads(out)["findings"]}
    assert outcome["LEAK011"] == outcome["LEAK013"] == "fine"
    code, _ = call("split", leaky, "--out", tmp_path / "folds", "--policy", "grouped", "--folds", "3")
    assert code == 0
    tested = [
        path
        for i in (1, 2, 3)
        for path, part in read_json(tmp_path / "folds" / f"fold-{i}.json")["assignment"].items()
        if part == "test"
    ]
    assert len(tested) == len(set(tested)) == 32


def test_split_refuses_what_makes_no_sense(
    leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base: list[str | Path] = ["split", leaky, "--out"]
    assert call_main(monkeypatch, *base, tmp_path / "a", "--folds", "3", "--policy", "deduplicated") == 2
    assert call_main(monkeypatch, *base, tmp_path / "a.json", "--folds", "3") == 2
    assert "give a folder" in capsys.readouterr().err


def test_leak_price_from_the_command_line(leaky: Path, tmp_path: Path) -> None:
    out = tmp_path / "price"
    code, text = call(
        "leak-price", leaky.parent / "tiny.toml", "--data", leaky, "--out", out, "--set", "stage.all.epochs=1"
    )
    assert code == 0
    assert "page: " in text
    assert (out / "leak-price.html").is_file()
    assert (out / "official" / "seed-0" / "report.html").is_file()
    assert "tumorscope leak-price" in read_json(out / "leak-price.json")["command"]


def test_control_is_an_option(leaky: Path, tmp_path: Path) -> None:
    code, _ = call(
        "train",
        leaky.parent / "tiny.toml",
        "--data",
        leaky,
        "--out",
        tmp_path / "run",
        "--policy",
        "grouped",
        "--control",
        "permuted-labels",
    )
    assert code == 0
    assert read_json(tmp_path / "run" / "run.json")["control"] == "permuted-labels"
