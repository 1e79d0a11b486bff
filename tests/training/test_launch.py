from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher import api as launcher
from typer.testing import CliRunner

from tests.training.together import environment
from tumorscope.cli import app
from tumorscope.core.errors import ResourceError, UsageError
from tumorscope.training.launch import run_processes
from tumorscope.training.processes import ALONE, Processes, joined, of_environment


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[tuple[Any, ...]]:
    """Let torch's launcher end with `error`; what it was given is noted."""
    given: list[tuple[Any, ...]] = []

    def launch(config: Any, entry: str) -> Any:
        def run(*words: str) -> None:
            given.append((config, entry, *words))
            raise error

        return run

    monkeypatch.setattr(launcher, "elastic_launch", launch)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return given


def failed(**codes: int) -> ChildFailedError:
    failures = {int(rank[1:]): ProcessFailure(int(rank[1:]), 1, code, "") for rank, code in codes.items()}
    return ChildFailedError("tumorscope", failures)


def test_the_exit_code_is_that_of_the_process_that_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ends(monkeypatch, failed(r0=1, r1=3))
    with pytest.raises(SystemExit) as left:
        run_processes(2, ["train", "demo"])
    assert left.value.code == 3
    (config, entry, *words) = given[0]
    assert (config.nproc_per_node, config.max_restarts, config.local_addr) == (2, 0, "127.0.0.1")
    assert [entry, *words] == [sys.executable, "-m", "tumorscope", "train", "demo"]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"r0": -15, "r1": -9}, "process 2 of 2 was ended by SIGKILL"),
        ({"r0": 1, "r1": -11}, "process 2 of 2 was ended by SIGSEGV"),
        ({"r0": -15, "r1": 1}, "process 2 of 2 ended with code 1"),
    ],
)
def test_a_process_that_ends_without_a_word_is_named(
    monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], said: str
) -> None:
    ends(monkeypatch, failed(**codes))
    with pytest.raises(ResourceError, match=said):
        run_processes(2, ["train"])


def test_ctrl_c_leaves_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    ends(monkeypatch, SignalException("stopped", signal.SIGINT))
    with pytest.raises(SystemExit) as left:
        run_processes(2, ["train"])
    assert left.value.code == 130


def test_more_processes_than_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ends(monkeypatch, AssertionError())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2 on a machine with 1 graphics card"):
        run_processes(2, ["train"])
    assert not given


def test_who_a_process_is_comes_from_the_launcher_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert of_environment(numbers) is ALONE  # as some clusters set for every container
    assert of_environment({**numbers, "TORCHELASTIC_RUN_ID": "x"}) == Processes(5, 8, 1, 4)
    assert of_environment({**numbers, "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x"}) is ALONE
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(UsageError, match="--devices 2, but the launcher started 1"), joined(2):
        pass


def test_other_verbs_are_refused_in_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(0, 2, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="`sweep` in 2 processes"):
        CliRunner().invoke(app, ["sweep", "demo", "--data", "phantom", "--out", "x"], catch_exceptions=False)


def test_one_process_gets_back_what_it_gives() -> None:
    part = torch.arange(3)
    assert ALONE.from_first(lambda: 4) == ALONE.in_turn(lambda: 4) == 4
    assert ALONE.total([1.0, 2.0]) == [1.0, 2.0]
    assert ALONE.gathered("a") == ["a"]
    assert ALONE.put_together(part, 3) is part


@pytest.mark.slow
def test_an_error_of_the_first_process_reaches_the_shell_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "there").touch()
    words = ["train", "demo", "--data", "phantom", "--out", str(tmp_path / "run"), "--devices", "2"]
    ended = subprocess.run(
        [sys.executable, "-m", "tumorscope", *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={k: v for k, v in os.environ.items() if k != "TORCHELASTIC_RUN_ID"},
        check=False,
    )
    assert ended.returncode == UsageError.exit_code
    assert ended.stderr.count("error:") == 1
    # torch warns above it where the name of this machine cannot be looked up
    assert any(line.startswith("error: the output folder is not empty") for line in ended.stderr.splitlines())
    assert ended.stdout == ""
