from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.errors import DataError
from tumorscope.evaluation.cells import escape_cell, unescape_cell
from tumorscope.evaluation.predictions import Predictions, read_csv

NASTY = (
    "=cmd|' /C calc'!A0.png",
    "+1.png",
    "-1.png",
    "@sum.png",
    "\ttab.png",
    "\rreturn.png",
    "'=quoted.png",
    "''plain.png",
    'say "hi", twice.png',
    "two\nlines\r\n.png",
    "scän/脳 腫瘍 🧠.png",
    " blank ends ",
    "bad\udcffbyte.png",
)


def same(a: Predictions, b: Predictions) -> None:
    for name in ("paths", "classes", "positive", "split", "patients", "groups"):
        assert getattr(a, name) == getattr(b, name), name
    assert np.array_equal(a.targets, b.targets)
    assert np.allclose(a.probs, b.probs, atol=1e-9, rtol=0)
    assert np.array_equal(a.predicted, b.predicted)


def test_csv_gives_back_nasty_paths_patients_and_classes(tmp_path: Path) -> None:
    base = draw(len(NASTY))
    table = replace(
        base,
        paths=NASTY,
        patients=(None, *NASTY[1:]),
        groups=NASTY,
        classes=("=malignant", "no, tumor"),
        positive="=malignant",
    )
    same(table, read_csv(table.write_csv(tmp_path / "p.csv"), positive="=malignant"))


def test_no_cell_starts_like_a_formula(tmp_path: Path) -> None:
    table = replace(draw(len(NASTY)), paths=NASTY, groups=NASTY, classes=("-a", "@b"), positive="-a")
    path = table.write_csv(tmp_path / "p.csv")
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.reader(text.split("\n"), strict=False))
    assert rows[0] == ["path", "split", "patient", "group", "label", "predicted", "prob_-a", "prob_@b"]
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
        for row in list(csv.reader(handle))[1:]:
            assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") for cell in row if cell), row


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_escaping_is_reversed_exactly(text: str) -> None:
    assert unescape_cell(escape_cell(text)) == text
    assert escape_cell(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_csv_keeps_every_answer_and_every_order(tmp_path_factory: Any, seed: int, classes: int) -> None:
    table = draw(20, classes=classes, seed=seed)
    back = read_csv(table.write_csv(tmp_path_factory.mktemp("csv") / "p.csv"), positive=table.positive)
    same(table, back)
    assert np.array_equal(np.argsort(table.probs, axis=0), np.argsort(back.probs, axis=0))


def test_csv_keeps_differences_beyond_nine_digits(tmp_path: Path) -> None:
    close = two_class([0, 1, 0], scores=[0.5 - 1e-12, 0.5 + 1e-13, 1 - 1e-13])
    back = read_csv(close.write_csv(tmp_path / "p.csv"), positive="malignant")
    assert np.array_equal(close.predicted, back.predicted)
    assert np.array_equal(close.probs, back.probs)
    ranked = two_class([0, 1], scores=[0.9, 0.9 - 1e-12])
    back = read_csv(ranked.write_csv(tmp_path / "r.csv"))
    assert back.probs[0, 0] > back.probs[1, 0]
    plain = two_class([0, 1], scores=[1 / 3, 0.9]).write_csv(tmp_path / "q.csv").read_text()
    assert "0.333333333," in plain


def test_same_table_same_bytes(tmp_path: Path) -> None:
    one = draw(30).write_csv(tmp_path / "a.csv").read_bytes()
    assert one == draw(30).write_csv(tmp_path / "b.csv").read_bytes()


def test_a_foreign_table_needs_only_label_and_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_bytes(b"\xef\xbb\xbflabel,prob_yes,prob_no\r\nyes,0.9,0.1\r\nno,0.2,0.8\r\n")
    table = read_csv(path, positive="yes")
    assert table.classes == ("yes", "no")
    assert table.targets.tolist() == [0, 1]
    assert table.paths == ("row-000001", "row-000002") == table.groups
    assert table.split == "test"
    assert table.patients == (None, None)


def test_patients_of_a_foreign_table_become_groups(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("patient,label,prob_a,prob_b\n7,a,0.9,0.1\n7,b,0.2,0.8\n,b,0.3,0.7\n")
    assert read_csv(path).groups == ("patient:7", "patient:7", "row-000003")


def test_one_split_of_several_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("split,label,prob_a,prob_b\nval,a,0.9,0.1\ntest,b,0.2,0.8\n")
    assert read_csv(path, split="val").targets.tolist() == [0]
    with pytest.raises(DataError, match="splits"):
        read_csv(path)
    with pytest.raises(DataError, match="no row of split 'train'"):
        read_csv(path, split="train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 lines"),
        ("label,prob_a,prob_b\n", "1 lines"),
        ("label;prob_a;prob_b\na;0.9;0.1\n", "columns"),
        ("label,prob_a\na,1\n", "columns"),
        ("class,prob_a,prob_b\na,0.9,0.1\n", "columns"),
        ("label,prob_a,prob_a\na,0.9,0.1\n", "twice"),
        ("label,prob_a,prob_b\nc,0.9,0.1\n", "no prob_ column"),
        ("label,prob_a,prob_b\na,0.9\n", "2 cells"),
        ("label,prob_a,prob_b\na,high,0.1\n", "'high' is no number"),
        ("label,prob_a,prob_b\na,nan,0.1\n", "NaN"),
        ("label,prob_a,prob_b\na,3.1,-2.1\n", "no probabilities"),
        ("label,prob_a,prob_b\na,0.9,0.2\n", "sums to 1.1"),
        ("label,predicted,prob_a,prob_b\na,b,0.9,0.1\n", "largest probability"),
        ("path,label,prob_a,prob_b\nx,a,0.9,0.1\nx,a,0.9,0.1\n", "stand twice"),
        ('label,prob_a,prob_b\n"a,0.9,0.1\n', "not a CSV table"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path)
    assert caught.value.where


def test_a_missing_table_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.array([0, 2])}, "1 targets such as 2"),
        ({"targets": np.array([0, -100])}, "such as -100"),
        ({"targets": np.array([0.0, 1.0])}, "type float64"),
        ({"targets": np.array([0])}, r"targets \(1,\)"),
        ({"probs": np.array([[0.5, 0.5], [0.7, 0.2]])}, "sums to 0.9"),
        ({"probs": np.array([[0.5, 0.5], [np.inf, 0.2]])}, "NaN or infinity"),
        ({"probs": np.array([[0.5, 0.5], [1.2, -0.2]])}, "no probabilities"),
        ({"classes": ("a",)}, "classes"),
        ({"classes": ("a", "a")}, "classes"),
        ({"positive": "c"}, "positive class 'c'"),
        ({"paths": ("x", "x")}, "stand twice"),
        ({"paths": ("", "x")}, "empty"),
        ({"groups": ("g",)}, "1 groups"),
        ({"groups": ("g", "")}, "empty group"),
        ({"patients": ("", None)}, "empty group or patient"),
        ({"paths": (), "targets": np.zeros(0, int), "probs": np.zeros((0, 2))}, "no images"),
    ],
)
def test_values_that_make_no_table_are_refused(change: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "paths": ("x", "y"),
        "targets": np.array([0, 1]),
        "probs": np.array([[0.9, 0.1], [0.2, 0.8]]),
        "classes": ("a", "b"),
        "positive": "a",
        "split": "test",
        "patients": (None, None),
        "groups": ("x", "y"),
    }
    Predictions(**right)
    with pytest.raises(DataError, match=message):
        Predictions(**(right | change))


def test_groups_are_patient_then_copies_then_the_path() -> None:
    table = Predictions.build(
        ["a", "b", "c"],
        targets=np.array([0, 1, 0]),
        probs=np.full((3, 2), 0.5),
        classes=["x", "y"],
        patients=["1", None, None],
        copies=["7", "7", None],
    )
    assert table.groups == ("patient:1", "copy:7", "c")
    assert not table.grouped


def test_the_table_owns_its_arrays() -> None:
    probs = np.array([[0.9, 0.1]])
    table = Predictions.build(["a"], targets=np.array([0]), probs=probs, classes=["x", "y"])
    probs[0] = [0.1, 0.9]
    assert table.predicted.tolist() == [0]
    with pytest.raises(ValueError, match="read-only"):
        table.probs[0, 0] = 0


def test_the_hash_does_not_depend_on_the_order_of_rows_but_on_every_value() -> None:
    table = draw(20)
    assert table.take(np.arange(20)[::-1]).sha256 == table.sha256
    assert replace(table, probs=table.probs[::-1]).sha256 != table.sha256
    assert replace(table, split="val").sha256 != table.sha256
