"""Optional packages say nothing about their user to anyone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumorscope.bundle.extras import installed

WATCH = """
import socket, sys, time
called = []
def refuse(*arguments, **more):
    called.append(arguments)
    raise OSError("no network in this test")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
{code}
time.sleep(0.2)
print(len(called), "openvino_telemetry" in sys.modules)
"""

USE = """
from tumorscope.bundle.extras import import_onnx, import_onnxruntime, import_openvino
onnx, runtime, vino = import_onnx(), import_onnxruntime(), import_openvino()
h = onnx.helper
ends = [h.make_tensor_value_info(name, 1, [1]) for name in "xy"]
graph = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9).SerializeToString()
runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
core = vino.Core()
core.compile_model(core.read_model(model), "CPU")
"""


def watched(code: str, home: Path) -> tuple[str, list[str]]:
    """What the code prints last, and the files it left in the home folder; no call leaves the process."""
    home.mkdir()
    hidden = ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", WATCH.format(code=code)], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), sorted(path.name for path in home.rglob("*"))


def test_nothing_is_sent_and_nothing_written(tmp_path: Path) -> None:
    assert watched(USE, tmp_path / "home") == ("0 False", [])


@pytest.mark.skipif(not installed("openvino_telemetry"), reason="this openvino sends nothing")
def test_the_watch_sees_what_a_plain_import_does(tmp_path: Path) -> None:
    printed, files = watched("import openvino", tmp_path / "home")
    assert printed.endswith("True")
    assert files
