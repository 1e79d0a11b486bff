"""Run folders and their pages, written once for all tests of this room; tests that change one take a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.reporting.runs import BINARY, FOUR, write_run, write_summary
from tumorscope.reporting.render import render_report


@pytest.fixture(scope="session")
def binary_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, 156 test images, with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "binary", BINARY)
    render_report(folder)
    return folder


@pytest.fixture(scope="session")
def four_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes, 1,311 test images, boxes and copies in train, with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "four", FOUR)
    render_report(folder)
    return folder


@pytest.fixture(scope="session")
def several_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds with a summary; only the first run has its report."""
    folder = write_summary(tmp_path_factory.mktemp("runs") / "several", seeds=3)
    render_report(folder / "seed-0")
    return folder


@pytest.fixture
def binary_copy(binary_run: Path, tmp_path: Path) -> Path:
    """A copy of the two-class run that a test may change."""
    return Path(shutil.copytree(binary_run, tmp_path / "run"))


@pytest.fixture
def four_copy(four_run: Path, tmp_path: Path) -> Path:
    """A copy of the four-class run that a test may change."""
    return Path(shutil.copytree(four_run, tmp_path / "run"))
