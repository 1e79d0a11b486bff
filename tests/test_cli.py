from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.scans import class_folders
from tumorscope import __version__
from tumorscope.cli import app, main
from tumorscope.core.files import read_json

TINY = """
name = "tiny"
title = "Tiny"
[image]
size_px = 32
[model]
name = "cnn_bn"
[train]
batch_size = 16
precision = "fp32"
memory_format = "contiguous"
[stage.all]
epochs = 2
lr = 3e-3
"""


def call(*arguments: str | Path) -> tuple[int, str]:
    """Run the command line in this process; returns exit code and standard output."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def call_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["tumorscope", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name, scans, a recipe and one finished run."""
    root = tmp_path_factory.mktemp("my scans")
    class_folders(root / "scans", per_class=14, test_per_class=5)
    (root / "tiny.toml").write_text(TINY)
    code, out = call("train", root / "tiny.toml", "--data", root / "scans", "--out", root / "run a")
    assert code == 0
    assert "report: " in out
    return root


def test_train_leaves_the_named_files(workplace: Path) -> None:
    for name in ("recipe.resolved.toml", "metrics.csv", "predictions.csv", "evaluation.json", "report.html", "bundle"):
        assert (workplace / "run a" / name).exists(), name
    command = read_json(workplace / "run a" / "run.json")["command"]
    assert command.startswith("tumorscope train ")
    assert f"'{workplace / 'scans'}'" in command  # quoted, because of the space


def test_json_output_is_json_alone(workplace: Path) -> None:
    code, out = call("evaluate", workplace / "run a", "--json")
    assert code == 0
    assert json.loads(out) == read_json(workplace / "run a" / "evaluation.json")
    code, out = call("datasets", "show", workplace / "scans", "--json")
    assert json.loads(out)["used"] == 57


def test_evaluate_and_compare(workplace: Path) -> None:
    code, out = call("evaluate", workplace / "run a")
    assert "baseline majority_class" in out
    code, out = call(
        "train", workplace / "tiny.toml", "-d", workplace / "scans", "-o", workplace / "b", "-s", "train.seed=1"
    )
    assert code == 0
    code, out = call("compare", workplace / "run a", workplace / "b", "--json")
    assert code == 0
    (one,) = json.loads(out)
    assert one["n"] == 15
    shutil.copytree(workplace / "run a", workplace / "copy")
    code, out = call("compare", workplace / "run a", workplace / "copy")
    assert "not distinguishable" in out


def test_split_file_goes_into_train(workplace: Path) -> None:
    file = workplace / "split.json"
    code, _ = call("split", workplace / "scans", "--out", file, "--policy", "grouped", "--seed", "4")
    assert code == 0
    code, _ = call("train", workplace / "tiny.toml", "-d", workplace / "scans", "-o", workplace / "c", "--split", file)
    assert code == 0
    assert read_json(workplace / "c" / "split.json")["sha256"] == read_json(file)["sha256"]


def test_recipes(tmp_path: Path) -> None:
    code, out = call("recipes", "list")
    assert code == 0
    assert "breastmnist-cnn" in out
    copy = tmp_path / "mine.toml"
    assert call("recipes", "copy", "demo", copy)[0] == 0
    assert copy.read_text() == call("recipes", "show", "demo")[1]
    assert "fine" in call("recipes", "check", copy)[1]


def test_version_help_and_lists() -> None:
    assert call("--version")[1].strip() == f"tumorscope {__version__}"
    assert "train" in call("--help")[1]
    assert "breastmnist" in call("datasets", "list")[1]
    assert "class-folders" in call("datasets", "layouts")[1]
    assert json.loads(call("doctor", "--json")[1])["versions"]["tumorscope"] == __version__


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "no-such-recipe", "--data", "x", "--out", "y"], 2, "no recipe is called"),
        (["train", "demo", "--data", "no-such-folder", "--out", "y"], 3, "nothing at"),
        (["train", "demo", "--data", "phantom", "--out", "y", "--set", "train.sed=1"], 2, "did you mean 'seed'"),
        (["evaluate", "no-such-run"], 2, "no evaluation.json"),
        (["compare", "no-such-run", "other"], 2, "no predictions.csv"),
        (["compare", "run", "./run"], 2, "named twice"),
        (["train", "demo", "--data", "phantom", "--out", "/dev/null"], 2, "names a file"),
        (["demo", "--out", "/dev/null"], 2, "names a file"),
        (["recipes", "copy", "demo", "/dev/null"], 2, "file exists"),
    ],
)
def test_errors_have_exit_codes_and_a_fix(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call_main(monkeypatch, *arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "fix:" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_not_empty_loses_nothing(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (workplace / "run a").rglob("*")}
    arguments: list[str | Path] = ["train", workplace / "tiny.toml", "-d", workplace / "scans"]
    arguments += ["-o", workplace / "run a"]
    assert call_main(monkeypatch, *arguments) == 2
    assert "not empty" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (workplace / "run a").rglob("*")} == before


NO_NETWORK = """
import socket, sys
def refuse(*a, **k):
    raise AssertionError(f"network used: {a[1:]}")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *a, **k: refuse(None, *a)
sys.argv = ["tumorscope", *sys.argv[1:]]
from tumorscope.cli import main
main()
"""


def test_nothing_goes_out(workplace: Path) -> None:
    """A whole run with every connection and name look-up turned into an error."""
    arguments = ["train", workplace / "tiny.toml", "-d", workplace / "scans", "-o", workplace / "offline"]
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (workplace / "offline" / "report.html").is_file()


def test_the_offline_test_can_fail() -> None:
    probe = NO_NETWORK.replace(
        "from tumorscope.cli import main\nmain()", "import urllib.request as u; u.urlopen('http://localhost:9')"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert "network used" in done.stderr


def test_claims() -> None:
    code, out = call("claim", "--accuracy", "0.9996", "--n", "1311", "--json")
    assert code == 1
    assert json.loads(out)["possible"] is False
    code, out = call("claim", "--accuracy", "0.86", "--n", "78")
    assert code == 0
    assert out.strip()


def test_ctrl_c_in_training_says_how_to_go_on(workplace: Path) -> None:
    """A real interrupt in the middle of an epoch: exit code 130, a hint, and a run that resumes."""
    out = workplace / "interrupted"
    arguments = ["train", workplace / "tiny.toml", "-d", workplace / "scans", "-o", out, "-s", "stage.all.epochs=400"]
    command = [sys.executable, "-m", "tumorscope", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "  2/400" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130, lines
    assert any("--resume" in line for line in lines)
    assert (out / "checkpoint.pt").is_file()
