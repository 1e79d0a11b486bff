"""The packages of the extra `export`, imported on first use and kept from reporting about their user.

`import openvino` writes an identifier into the home folder and sends an event; ONNX Runtime's official builds report
loaded models. Neither happens when they are imported here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import cast

from tumorscope.core.errors import ResourceError

INSTALL = "pip install 'tumorscope[export]'"


def installed(name: str) -> bool:
    """True if the package is there; it is not imported."""
    return importlib.util.find_spec(name) is not None


def import_onnx() -> ModuleType:
    """The package `onnx`.

    Raises:
        ResourceError: If it or onnxscript, which torch's exporter needs, is missing.
    """
    if not installed("onnxscript"):
        raise _missing("onnxscript")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxscript may import onnxruntime
    return _import("onnx")


def import_onnxruntime() -> ModuleType:
    """The package `onnxruntime`, which sends nothing.

    Raises:
        ResourceError: If it is missing.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    module = _import("onnxruntime")
    module.disable_telemetry_events()
    return module


def import_openvino() -> ModuleType:
    """The package `openvino`, which sends nothing and writes nothing into the home folder.

    Raises:
        ResourceError: If it is missing.
    """
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    if "openvino" in modules or "openvino_telemetry" in modules:
        return _import("openvino")
    # None makes the import of that name fail, and openvino then takes a stand-in of its own that does nothing
    modules["openvino_telemetry"] = None
    try:
        return _import("openvino")
    finally:
        del modules["openvino_telemetry"]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name) from error


def _missing(name: str) -> ResourceError:
    return ResourceError(
        f"the package {name} is not installed, or does not load",
        expected="the extra `export`",
        fix=INSTALL,
    )
