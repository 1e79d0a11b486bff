"""The house: imports go downward only, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tumorscope"

TOP = 7
FLOORS = {
    "core": 0,
    "imaging": 1,
    "evaluation": 1,
    "data": 2,
    "models": 2,
    "auditing": 3,
    "bundle": 3,
    "training": 4,
    "explaining": 4,
    "predicting": 4,
    "reporting": 5,
    "sweeping": 5,
    "scaling": 6,
    "api": TOP,
    "commands": TOP,
    "cli": TOP,
    "serving": TOP,
    "__init__": TOP,
    "__main__": TOP,
}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of ours that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "tumorscope":
                names = [f"tumorscope.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("tumorscope.")}
    return {name for name in found if name in FLOORS}


FILES = sorted(SOURCE.rglob("*.py"))


def test_every_file_has_a_room() -> None:
    assert len(FILES) > 30
    assert {room(path) for path in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_go_downward(path: Path) -> None:
    here = room(path)
    for other in imported_rooms(path) - {here}:
        # two rooms of one floor may not lean on each other in both directions; none does at all but these
        allowed = FLOORS[other] < FLOORS[here] or FLOORS[here] == TOP
        assert allowed, f"{path.name} ({here}, floor {FLOORS[here]}) imports {other} (floor {FLOORS[other]})"


def test_only_one_room_knows_ray() -> None:
    knowing = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            knowing |= {room(path) for name in names if name.partition(".")[0] == "ray"}
    assert knowing == {"scaling"}


def test_the_check_sees_an_upward_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from tumorscope.cli import app\n    import tumorscope.training.run\n")
    assert imported_rooms(bad) == {"cli", "training"}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import tumorscope",
        "import tumorscope.cli",
        "import tumorscope.api",
        "from tumorscope.data.load import load",
        "from tumorscope.training.recipe import load_recipe; load_recipe('demo')",
    ],
)
def test_light_imports(statement: str) -> None:
    heavy = "('torch', 'timm', 'lightning', 'matplotlib')"
    code = f"import sys; {statement}; print([m for m in {heavy} if m in sys.modules])"
    assert run(code).strip() == "[]"
