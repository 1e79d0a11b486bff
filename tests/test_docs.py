"""The documentation is true: generated pages are up to date, links lead somewhere, commands and codes exist."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer.main

import tumorscope
from tests.conftest import ROOT
from tests.data.images import write
from tumorscope.cli import app
from tumorscope.core.errors import DataError
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.data.load import load
from tumorscope.training.recipe import load_recipe, parse_recipe, shipped_recipes

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
SHELLS = {"", "bash", "sh", "shell", "console"}
CODE = re.compile(r"\b[A-Z]{4,8}\d{3}\b")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without fenced blocks."""
    return FENCE.sub("", text)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# --- generated pages


def test_generated_pages_are_up_to_date(build: ModuleType) -> None:
    for path, wanted in build.pages().items():
        assert text_of(path) == wanted, f"{name_of(path)} is out of date: run `make docs`"


# --- links


def slug(heading: str) -> str:
    """The anchor that a heading gets on the usual code hosts."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def broken_links(path: Path, text: str) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        if not place.exists():
            found.append(f"{name_of(path)}: {target} does not exist")
        elif anchor and anchor not in {slug(h) for h in re.findall(r"^#+ (.+)$", text_of(place), re.MULTILINE)}:
            found.append(f"{name_of(path)}: {target} has no such heading")
    return found


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, text_of(path)) == []


def test_a_broken_link_is_seen() -> None:
    page = DOCS / "README.md"
    assert broken_links(page, "[a](nowhere.md) [b](tutorial.md#nothing) [c](https://x.org) [d](tutorial.md)") == [
        "docs/README.md: nowhere.md does not exist",
        "docs/README.md: tutorial.md#nothing has no such heading",
    ]


def test_the_index_names_every_page() -> None:
    linked = {
        (DOCS / t.partition("#")[0]).resolve() for t in re.findall(r"\]\(([^)\s]+)\)", text_of(DOCS / "README.md"))
    }
    missing = [name_of(p) for p in sorted(DOCS.rglob("*.md")) if p.resolve() not in linked and p != DOCS / "README.md"]
    assert missing == []


# --- commands


def commands(text: str) -> list[str]:
    """Command lines of the program in shell blocks, continued lines joined, here-documents left out."""
    found = []
    for language, block in FENCE.findall(text):
        if language not in SHELLS:
            continue
        shell = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
        found += [line.strip() for line in shell.splitlines() if re.match(r"\s*(\.venv/bin/)?tumorscope\s", line)]
    return found


def known(words: list[str]) -> Any:
    """The command that the first words name, and the words after it."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise LookupError(f"no verb {rest[0]!r}")
        command = command.commands[rest.pop(0)]
    return command, rest


def check_command(line: str) -> None:
    """Raise if a command line would be refused before it starts."""
    command, rest = known(shlex.split(line, comments=True)[1:])
    if rest and rest[0] in ("--help", "-h", "--version"):
        return
    if hasattr(command, "commands"):
        raise LookupError("no verb")
    given = command.make_context("tumorscope", rest).params
    recipe = given.get("recipe")
    if recipe in shipped_recipes():
        load_recipe(recipe, given.get("set_") or ())


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_would_run(path: Path) -> None:
    for line in commands(text_of(path)):
        try:
            check_command(line)
        except Exception as error:
            pytest.fail(f"{name_of(path)}: {line}\n{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    "line",
    [
        "tumorscope trian demo --data x --out y",
        "tumorscope recipes shw demo",
        "tumorscope train demo --data x --outt y",
        "tumorscope train demo --data x",
        "tumorscope split x --out y --policy mine",
        "tumorscope train demo --data x --out y --set stage.all.lrate=1",
        "tumorscope datasets",
    ],
)
def test_a_wrong_command_is_seen(line: str) -> None:
    assert commands(f"```bash\n{line}\n```\n") == [line]
    with pytest.raises(Exception, match=r"."):
        check_command(line)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_in_sentences_exist(path: Path) -> None:
    for inside in re.findall(r"`tumorscope ([^`\n]+)`", prose(text_of(path))):
        command, rest = known([w for w in inside.split() if w.strip(".…")])
        options = {o for p in command.params for o in p.opts} | {"--help", "--version"}
        unknown = {w for w in rest if w.startswith("-")} - options
        assert not unknown, f"{name_of(path)}: `tumorscope {inside}`: {unknown}"


def test_there_are_commands() -> None:
    verbs = {line.split()[1] for path in PAGES for line in commands(text_of(path))}
    assert {"train", "evaluate", "compare", "report", "split", "doctor", "recipes", "datasets"} <= verbs


# --- blocks of Python and TOML


def python_blocks() -> list[Any]:
    found = []
    for path in PAGES:
        blocks = [(m[1], m[2], m.end()) for m in FENCE.finditer(text_of(path))]
        for i, (language, code, end) in enumerate(blocks):
            if language != "python":
                continue
            follows = re.match(r"\s*```text\n(.*?)^```", text_of(path)[end:], re.MULTILINE | re.DOTALL)
            found.append(pytest.param(code, follows[1] if follows else None, id=f"{name_of(path)}-{i}"))
    return found


@pytest.mark.parametrize(("code", "printed"), python_blocks())
def test_python_blocks_print_what_the_page_says(code: str, printed: str | None) -> None:
    compiled = compile(code, "page", "exec")
    if printed is None:
        return
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compiled, {"__name__": "page"})
    assert out.getvalue() == printed


def test_recipes_on_pages_are_valid() -> None:
    checked = 0
    for path in PAGES:
        for language, block in FENCE.findall(text_of(path)):
            if language == "toml":
                parse_recipe(tomllib.loads(block), where=name_of(path))
                checked += 1
    assert checked >= len(shipped_recipes())


# --- codes and reasons


def test_codes_on_pages_exist(build: ModuleType) -> None:
    codes = {code for code, _, _ in build.finding_rows()}
    for path in PAGES:
        assert set(CODE.findall(text_of(path))) <= codes, name_of(path)


def test_codes_in_the_source_are_on_the_page(build: ModuleType) -> None:
    codes = {code for code, _, _ in build.finding_rows()}
    for path in sorted(Path(tumorscope.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                assert node.value in codes, f"{path.name}: {node.value}: add its registry to docs/build_reference.py"


def test_reasons_of_the_decoder_are_real() -> None:
    table = text_of(DOCS / "faults.md").partition("<!-- end -->")[0]
    reasons = set(re.findall(r"excluded[^|]*?`([a-z-]+)`", table))
    assert len(reasons) > 5
    assert reasons <= set(EXCLUSION_REASONS)


def test_the_run_folder_page_names_every_file() -> None:
    tree = ast.parse(text_of(ROOT / "tests" / "training" / "test_run.py"))
    (files,) = [
        ast.literal_eval(n.value)
        for n in tree.body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FILES"
    ]
    page = text_of(DOCS / "reference" / "run-folder.md")
    for name in (*files, "report.html", "ledger.jsonl", "timing.json", "checkpoint.pt", "summary.json"):
        assert f"`{name}`" in page, name


# --- faults of folders, tables, boxes and array files: every row of docs/faults.md is built


def tree(root: Path, *names: str, table: str = "") -> Path:
    """Images (or empty files) at `names` below `root`, and a table if its text is given."""
    for name in names:
        write(root / name, None if name.endswith(".png") else b"")
    if table:
        (root / "images.csv").write_text(table, encoding="utf-8")
    return root


def boxed(root: Path, label: str, *, folder: str = "glioma", names: str = "names: [glioma, healthy]\n") -> Path:
    """Class folders with images and labels; `label` is the label file of one image in `folder`."""
    for name in ("glioma", "healthy"):
        write(root / name / "images" / "a.png")
        write(root / name / "labels" / "a.txt", f"{int(name == 'healthy')} 0.5 0.5 0.2 0.2".encode())
    write(root / folder / "labels" / "a.txt", label.encode())
    if names:
        write(root / "data.yaml", names.encode())
    return root


def plain_boxes(root: Path, *, boxed_images: int, images: int) -> Path:
    """`train/images` and `train/labels`, where the boxes name the class."""
    for i in range(images):
        write(root / "train" / "images" / f"{i}.png", seed=i)
        write(root / "train" / "labels" / f"{i}.txt", f"{i % 2} 0.5 0.5 0.2 0.2".encode() if i < boxed_images else b"")
    write(root / "data.yaml", b"names: [glioma, healthy]\n")
    return root


def arrays(file: Path, **changes: Any) -> Path:
    """A small file of BreastMNIST's make; None leaves an array out."""
    rng = np.random.default_rng(1)
    content: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        content[f"{part}_images"] = rng.integers(0, 256, (4, 28, 28), dtype=np.uint8)
        content[f"{part}_labels"] = np.array([[0], [1], [0], [1]], dtype=np.uint8)
    content = {k: v for k, v in (content | changes).items() if v is not None}
    np.savez(file, **content)
    return file


def link(path: Path, target: str | Path, root: Path) -> Path:
    path.symlink_to(target)
    return root


CLEAN = ("glioma/a.png", "healthy/b.png")
PARTS = tuple(f"{part}/{name}" for part in ("train", "test") for name in ("glioma/a.png", "healthy/b.png"))
TABLE = "path,label\nglioma/a.png,glioma\nhealthy/b.png,healthy\n"
SPLIT_TABLE = "path,label,split\nglioma/a.png,glioma,train\nhealthy/b.png,healthy,test\n"

BUILT: dict[str, Callable[[Path], Path]] = {
    "a note, table or system file among the images": lambda r: tree(r, *CLEAN, "glioma/notes.txt"),
    "a hidden file or folder, or `__MACOSX`": lambda r: tree(r, *CLEAN, "glioma/.ipynb_checkpoints/c.png"),
    "an image beside the class folders": lambda r: tree(r, *CLEAN, "lost.png"),
    "a link that leads to a folder above itself": lambda r: link(tree(r, *CLEAN) / "glioma/up", "..", r),
    "a link whose target does not exist": lambda r: link(tree(r, *CLEAN) / "glioma/gone.png", "nowhere.png", r),
    "a link to a file outside the data folder": lambda r: link(
        tree(r, *CLEAN) / "glioma/c.png", write(r.parent / "elsewhere.png"), r
    ),
    "one class spelled in several ways (`Glioma`, `glioma`)": lambda r: tree(
        r, *PARTS, "val/Glioma/c.png", "val/healthy/d.png"
    ),
    "a class folder without a usable image": lambda r: tree(r, *CLEAN, "cyst/empty.jpg"),
    "`Train` and `Val` but no test folder": lambda r: tree(r, *(p.replace("test", "Val") for p in PARTS)),
    "a folder beside the split folders that is no part": lambda r: tree(r, *PARTS, "extra/c.png"),
    "a class that is missing from a part": lambda r: tree(r, *PARTS, "train/cyst/c.png"),
    "two folders for one part (`train`, `training`)": lambda r: tree(r, *PARTS, "training/glioma/c.png"),
    "class folders inside a class folder again, as in some archives": lambda r: tree(
        r, *CLEAN, "all/glioma/a.png", "all/healthy/b.png"
    ),
    "split folders below a class folder": lambda r: tree(r, *CLEAN, "glioma/train/c.png", "glioma/test/d.png"),
    "one folder around everything, as archives have it": lambda r: tree(r, *(f"archive/{n}" for n in CLEAN)),
    "no known layout": lambda r: tree(r, "a.png", "b.png"),
    "nothing usable at all": lambda r: tree(r, "glioma/a.jpg", "healthy/b.jpg"),
    "a needed column is missing or misspelled": lambda r: tree(r, *CLEAN, table=TABLE.replace("label", "lable", 1)),
    "a column with another name": lambda r: tree(
        r, *CLEAN, table=TABLE.replace("\n", ",7\n").replace("label,7", "label,age")
    ),
    "a row with too many or too few cells": lambda r: tree(r, *CLEAN, table=TABLE + "c.png\n"),
    "a split cell that is no part": lambda r: tree(r, *CLEAN, table=SPLIT_TABLE.replace(",test", ",third")),
    "a file that does not exist": lambda r: tree(r, *CLEAN, table=TABLE + "c.png,glioma\n"),
    "a path that leads out of the table's folder": lambda r: tree(r, *CLEAN, table=TABLE + "../c.png,glioma\n"),
    "an empty label cell": lambda r: tree(r, *CLEAN, "c.png", table=TABLE + "c.png,\n"),
    "one image in two rows that agree": lambda r: tree(r, *CLEAN, table=TABLE + "glioma/a.png,glioma\n"),
    "one image in two rows with different labels": lambda r: tree(
        r, *CLEAN, "c.png", table=TABLE + "c.png,glioma\nc.png,healthy\n"
    ),
    "one image in two rows with different parts or patients": lambda r: tree(
        r, *CLEAN, table=SPLIT_TABLE + "glioma/a.png,glioma,test\n"
    ),
    "an image without a label file": lambda r: tree(boxed(r, "0 0.5 0.5 0.2 0.2"), "glioma/images/b.png"),
    "an empty label file": lambda r: boxed(r, ""),
    "a label file without an image": lambda r: tree(boxed(r, "0 0.5 0.5 0.2 0.2"), "glioma/labels/b.txt"),
    "boxes of another class than the folder": lambda r: boxed(r, "1 0.5 0.5 0.2 0.2"),
    "boxes of several classes in one file": lambda r: boxed(r, "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1"),
    "a box that reaches outside the image": lambda r: boxed(r, "0 0.95 0.5 0.2 0.2"),
    "a line that cannot be read, or a class number without a name": lambda r: boxed(
        r, "0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.1 0.1"
    ),
    "a box without width or height": lambda r: boxed(r, "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0.1"),
    "no box, where only boxes name the class": lambda r: plain_boxes(r, boxed_images=2, images=3),
    "class numbers that the folders' order contradicts, without `data.yaml`": lambda r: boxed(
        r, "1 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1", names=""
    ),
    "another checksum than the official file": lambda r: arrays(r / "breastmnist.npz"),
    "parts of another size than the official ones": lambda r: arrays(r / "breastmnist.npz"),
    "a missing array": lambda r: arrays(r / "breastmnist.npz", val_images=None),
    "an array of Python objects, which only pickle can read": lambda r: arrays(
        r / "breastmnist.npz", val_images=np.array([{}, {}, {}, {}], dtype=object)
    ),
    "a label that is no class number": lambda r: arrays(r / "breastmnist.npz", val_labels=np.array([0, 1, 2, 1])),
    "a positive class that contradicts the catalogue": lambda r: arrays(r / "breastmnist.npz"),
    "a file that the catalogue does not know, without label names": lambda r: arrays(r / "mine.npz"),
    "a damaged archive": lambda r: write(r / "breastmnist.npz", b"PK\x03\x04 and no more"),
}
"""How each row of the page is built, by its first cell."""


def fault_rows() -> dict[str, str]:
    """Last cell of each row with three cells, by the first cell."""
    found = {}
    for line in text_of(DOCS / "faults.md").partition("<!-- end -->")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[2] not in ("code", "---"):
            found[cells[0]] = cells[2].strip("`")
    return found


def test_every_fault_on_the_page_is_built_and_no_other() -> None:
    assert list(fault_rows()) == list(BUILT)


def test_clean_data_has_no_outcome_of_a_fault(tmp_path: Path) -> None:
    for number, root in enumerate(
        (
            tree(tmp_path / "folders", *CLEAN),
            tree(tmp_path / "parts", *PARTS),
            tree(tmp_path / "table", *CLEAN, table=TABLE),
            boxed(tmp_path / "boxes", "0 0.5 0.5 0.2 0.2"),
        )
    ):
        data = load(root)
        assert (data.findings, data.exclusions) == ((), ()), number


@pytest.mark.parametrize("fault", BUILT)
def test_each_fault_ends_as_the_page_says(tmp_path: Path, fault: str) -> None:
    wanted = fault_rows()[fault]
    root = tmp_path / "data"
    root.mkdir()
    place = BUILT[fault](root)
    positive = "normal, benign" if fault.startswith("a positive class") else None
    if wanted == "exit 3":
        with pytest.raises(DataError) as caught:
            load(place, positive=positive)
        assert caught.value.exit_code == 3
        return
    data = load(place, positive=positive)
    if CODE.fullmatch(wanted):
        assert wanted in {f.code for f in data.findings}
    elif wanted == "used":
        assert len(data) == data.inputs == 2
    else:
        assert wanted in {e.reason for e in data.exclusions}


# --- figures that sentences name


def test_figures_in_sentences() -> None:
    from tumorscope.data.medmnist_catalogue import catalogue
    from tumorscope.evaluation.alarms import CALIBRATION_GAP
    from tumorscope.evaluation.calibration import TEMPERATURE_BOUNDS
    from tumorscope.evaluation.metrics import ECE_BINS
    from tumorscope.imaging.decode import MAX_PIXELS, MIN_SIDE_PX

    entry = catalogue()["breastmnist"]
    labels, calibration = text_of(DOCS / "explanation/labels.md"), text_of(DOCS / "explanation/calibration.md")
    assert entry.images["test"] == 156
    assert f"{114 / entry.images['test']:.1%}" == "73.1%"
    assert "114 of 156 cases, 73.1%" in labels
    assert f"between {TEMPERATURE_BOUNDS[0]:g} and {TEMPERATURE_BOUNDS[1]:g}." in calibration
    assert f"into {ECE_BINS} bins" in calibration
    assert f"more than {CALIBRATION_GAP:g} above their mean" in calibration
    assert f"under {MIN_SIDE_PX} pixels, or over {MAX_PIXELS // 1_000_000} megapixels" in text_of(DOCS / "faults.md")
    plan = text_of(DOCS / "decisions/0008-measured-plan.md")
    source = text_of(Path(tumorscope.__file__).parent / "training" / "plan.py")  # importing it would import torch
    assert "LOSS_TOLERANCE = 0.05\n" in source
    assert "TIMED_STEPS = 3\n" in source
    assert all(words in plan for words in ("more than 5%", "four steps", "last three"))


@pytest.mark.real
def test_figures_about_public_data(real_data: Path) -> None:
    from tumorscope.core.files import sha256_file

    def hashes(folder: str) -> list[str]:
        pictures = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
        hidden = re.compile(r"(^|/)\.")
        names = [p.relative_to(real_data).as_posix() for p in sorted((real_data / folder).rglob("*"))]
        return [sha256_file(real_data / n) for n in names if pictures.search(n) and not hidden.search(n)]

    def copies(train: str, test: str) -> tuple[int, int]:
        seen, tested = set(hashes(train)), hashes(test)
        return sum(one in seen for one in tested), len(tested)

    page = text_of(DOCS / "explanation/leakage.md")
    found, n = copies("brain-mri-4class/Training", "brain-mri-4class/Testing")
    assert f"{found} of the {n:,} files of the official test folder" in page
    found, n = copies("brain-mri-boxes/Train", "brain-mri-boxes/Val")
    assert f"{found} of the {n} files of `Val`" in page
    files = hashes("brain-mri-yesno")
    assert f"{len(files)} files, {len(set(files))} of them distinct" in page
