from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.images import write
from tumorscope.core.errors import DataError
from tumorscope.core.types import Box, DatasetInfo
from tumorscope.data.load import load
from tumorscope.data.sources.table import load_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/c d.png"):
        write(tmp_path / name)
    return tmp_path


def table(folder: Path, text: str, name: str = "images.csv") -> Path:
    return write(folder / name, text.encode("utf-8", "surrogateescape"))


FULL = """path,label,split,patient,boxes
a.png,glioma,train,001,"[[""glioma"", 0.5, 0.5, 0.2, 0.1]]"
./sub/c d.png,healthy,Testing,1,
b.png,glioma,valid,,[]
"""


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "parquet", "folder"])
def test_all_columns(folder: Path, kind: str) -> None:
    if kind == "parquet":
        rows = {
            "path": ["a.png", "sub/c d.png", "b.png"],
            "label": ["glioma", "healthy", "glioma"],
            "split": ["train", "test", "val"],
            "patient": ["001", "1", None],
            "boxes": ['[["glioma", 0.5, 0.5, 0.2, 0.1]]', None, "[]"],
        }
        path = folder / "t.parquet"
        pq.write_table(pa.table(rows), path)
    else:
        separator = {"tsv": "\t", "semicolon": ";"}.get(kind, ",")
        cell = '"[[""glioma"", 0.5, 0.5, 0.2, 0.1]]"'
        text = FULL.replace(cell, "CELL").replace(",", separator).replace("CELL", cell)
        name = {"tsv": "t.tsv", "folder": "images.csv"}.get(kind, "t.csv")
        path = table(folder, text, name)
        path = folder if kind == "folder" else path
    data = load(path)
    assert data.layout == "table"
    assert data.root == folder
    assert data.classes == ("glioma", "healthy")
    assert data.positive == "glioma"
    assert [(r.path, r.label, r.split, r.patient) for r in data.records] == [
        ("a.png", "glioma", "train", "001"),
        ("b.png", "glioma", "val", None),
        ("sub/c d.png", "healthy", "test", "1"),
    ]
    assert data.records[0].boxes == (Box("glioma", 0.5, 0.5, 0.2, 0.1),)
    assert data.findings[0].code == "DATA009"
    assert "split column, 3 images" in data.summary


def test_two_columns_are_enough(folder: Path) -> None:
    data = load(table(folder, "label,path\nx,a.png\ny,b.png\n"))
    assert [(r.split, r.patient, r.boxes) for r in data.records] == [(None, None, ())] * 2
    assert data.summary == "2 classes in images.csv, no split, 2 images"


def test_train_and_val_stay_as_written(folder: Path) -> None:
    data = load(table(folder, "path,label,split\na.png,x,train\nb.png,y,val\n"))
    assert [r.split for r in data.records] == ["train", "val"]
    assert "no complete split" in data.summary


def test_numbers_in_parquet_become_text(folder: Path) -> None:
    rows = {"path": ["a.png", "b.png"], "label": [0, 1], "patient": [7.0, None]}
    pq.write_table(pa.table(rows), folder / "t.parquet")
    data = load(folder / "t.parquet")
    assert data.classes == ("0", "1")
    assert [r.patient for r in data.records] == ["7", None]


@pytest.mark.parametrize(
    ("header", "fix"),
    [
        ("Path,label", "rename 'Path' to 'path'"),
        ("path,labels", "rename 'labels' to 'label'"),
        ("path,label,splt", "rename 'splt' to 'split'"),
        ("path,label,patients", "rename 'patients' to 'patient'"),
        ("file,class", "name the columns exactly"),
        ("path,label,label", "'label' is there twice"),
    ],
)
def test_column_names_are_exact(folder: Path, header: str, fix: str) -> None:
    cells = ",".join(["a.png", "x", "y"][: header.count(",") + 1])
    with pytest.raises(DataError) as caught:
        load(table(folder, f"{header}\n{cells}\n"))
    assert fix in str(caught.value)


def test_other_columns_are_named(folder: Path) -> None:
    data = load(table(folder, "path,label,age\na.png,x,70\nb.png,y,50\n"))
    assert [(f.code, f.paths) for f in data.findings] == [("DATA031", ("age",))]


def test_rows_that_cannot_be_used_are_listed(folder: Path) -> None:
    outside = write(folder.parent / "outside.png")
    (folder / "link.png").symlink_to(outside)
    text = f"""path,label
a.png,x
b.png,y
{folder}/sub/c d.png,x
gone.png,x
sub,x
../outside.png,x
{outside},x
,x
write.png,
link.png,x
http://host/x.png,y
"""
    write(folder / "write.png")
    data = load(table(folder, text))
    assert [r.path for r in data.records] == ["a.png", "b.png", "link.png", "sub/c d.png"]
    assert {e.path: e.reason for e in data.exclusions} == {
        "gone.png": "missing-file",
        "sub": "missing-file",
        "../outside.png": "outside-root",
        str(outside): "outside-root",
        "": "missing-file",
        "write.png": "no-label",
        "http:/host/x.png": "missing-file",
    }
    assert data.inputs == 11
    assert {f.code for f in data.findings} == {"DATA001", "DATA008"}


def test_repeated_rows(folder: Path) -> None:
    text = "path,label\na.png,x\n./a.png,x\nb.png,y\nsub/c d.png,x\nsub//c d.png,y\n"
    data = load(table(folder, text))
    assert [r.path for r in data.records] == ["a.png", "b.png"]
    assert [(e.path, e.reason, e.detail) for e in data.exclusions] == [("sub/c d.png", "no-label", "rows name x and y")]
    assert data.inputs == 3
    twice = next(f for f in data.findings if f.code == "DATA030")
    assert twice.paths == ("a.png", "sub/c d.png")


@pytest.mark.parametrize("column", ["split", "patient"])
def test_contradicting_rows_are_refused(folder: Path, column: str) -> None:
    values = ("train", "test") if column == "split" else ("1", "2")
    text = f"path,label,{column}\na.png,x,{values[0]}\nb.png,y,\na.png,x,{values[1]}\n"
    with pytest.raises(DataError, match=rf"rows put a.png in {column} .*\n.*\n.*lines 2, 4"):
        load(table(folder, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("path,label\n", "no usable image among 0 inputs"),
        ("path,label\na.png\n", "1 cells in a row"),
        ("path,label\na.png,x,y\n", "3 cells in a row"),
        ("path,label,split\na.png,x,holdout2\n", "split 'holdout2'"),
        (os.fsdecode(b"path,label\na.png,gli\xf6m\n"), "column 'label' is not UTF-8"),
    ],
)
def test_broken_tables(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load(table(folder, text))
    assert message in str(caught.value)


def test_broken_parquet(folder: Path) -> None:
    with pytest.raises(DataError, match="no readable Parquet file"):
        load(write(folder / "t.parquet", b"PAR1 but no table"))


@pytest.mark.parametrize("cell", ["glioma 0.5 0.5 0.1 0.1", '[["x", 0.5]]', '{"x": 1}', '[["x",1,1,1,"a"]]', "[1]"])
def test_malformed_boxes_are_a_finding(folder: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    data = load(table(folder, f'path,label,boxes\na.png,x,"{quoted}"\nb.png,y,\n'))
    assert [(f.code, f.paths) for f in data.findings] == [("DATA016", ("a.png",))]
    assert data.records[0].boxes == ()


def test_undecodable_file_name_in_a_table(folder: Path) -> None:
    name = os.fsdecode(b"bad\xff.png")
    write(folder / name)
    data = load(table(folder, f"path,label\n{name},x\nb.png,y\n"))
    assert name in {r.path for r in data.records}


def test_quoted_newline_and_byte_order_mark(folder: Path) -> None:
    write(folder / "two\nlines.png")
    data = load(table(folder, '\ufeffpath,label\n"two\nlines.png",x\nb.png,y\n'))
    assert data.records[1].path == "two\nlines.png"


def test_source_of_another_set_can_say_where_it_comes_from(folder: Path) -> None:
    info = DatasetInfo(name="made", title="Made up")
    assert load_table(table(folder, "path,label\na.png,x\nb.png,y\n"), info=info).info == info


def test_two_tables_in_a_folder_are_not_chosen_between(folder: Path) -> None:
    table(folder, "path,label\na.png,x\n")
    table(folder, "path\tlabel\na.png\tx\n", "images.tsv")
    with pytest.raises(DataError, match="no known layout"):
        load(folder)
