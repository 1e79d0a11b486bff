"""What the container file and the systemd unit name exists, and the health check tells the truth."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.serving.test_run import started
from tumorscope.cli import app as command
from tumorscope.core.files import cache_root

ROOT = Path(__file__).resolve().parents[2]
UNIT = (ROOT / "deploy" / "tumorscope.service").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of every instruction of the container file, continued lines joined."""
    text = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")]


def of(word: str) -> list[str]:
    """What follows each instruction of a kind."""
    return [rest for found, rest in instructions() if found == word]


def parsed(words: list[str]) -> dict[str, Any]:
    """The values of a command line, as the program reads them."""
    assert Path(words[0]).name == "tumorscope"
    group: Any = typer.main.get_command(command)
    chosen = group.commands[words[1]]
    values: dict[str, Any] = chosen.make_context(words[1], words[2:]).params
    return values


def test_what_the_image_is_made_of_exists() -> None:
    copied = [rest.split()[:-1] for rest in of("COPY") if not rest.startswith("--from")]
    assert copied
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []
    (install,) = re.findall(r"pip install .*", " ".join(of("RUN")))
    words = shlex.split(install)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (extras,) = re.findall(r"^\.\[(.+)\]$", next(word for word in words if word.startswith(".")), re.MULTILINE)
    assert set(extras.split(",")) <= set(known)
    assert words[words.index("-c") + 1] in {name for names in copied for name in names}


def test_the_image_runs_the_server_as_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (entry,), (arguments,), (user,) = of("ENTRYPOINT"), of("CMD"), of("USER")
    values = parsed([*json.loads(entry), *json.loads(arguments)])
    assert (str(values["model"]), values["host"], values["port"]) == ("/model", "0.0.0.0", int(of("EXPOSE")[0]))
    number = user.split(":")[0]
    assert number != "0"
    assert f"--uid {number} " in " ".join(of("RUN"))
    (cache,) = re.findall(r"TUMORSCOPE_CACHE=(\S+)", " ".join(of("ENV")))
    assert f"install -d -o {number} -g {number} -m 700 {cache}" in " ".join(of("RUN"))
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path))
    assert cache_root() == tmp_path


def test_the_unit_runs_the_server_on_loopback() -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", UNIT, re.MULTILINE)
    values = parsed(shlex.split(line))
    assert (str(values["model"]), values["host"]) == ("/srv/tumorscope/model", "127.0.0.1")
    assert str(values["token_file"]) == "${CREDENTIALS_DIRECTORY}/token"
    assert "LoadCredential=token:" in UNIT


def test_the_health_check_tells_a_living_server_from_none(folder: Path, tmp_path: Path) -> None:
    (rest,) = of("HEALTHCHECK")
    words = json.loads(rest.partition("CMD ")[2])
    assert words[:2] == ["python", "-c"]

    def healthy(port: int) -> bool:
        code = words[2].replace("8000", str(port))
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0

    with started(folder, tmp_path / "t") as server:
        assert healthy(server.port)
        assert server.stop() == 0
        assert not healthy(server.port)
