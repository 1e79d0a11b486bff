"""The package of the extra `ray`, imported on first use and kept from reporting about its user."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tumorscope.core.errors import ResourceError

INSTALL = "pip install 'tumorscope[ray]'"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    # or Ray warns that it will one day leave the variables of GPUs alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Set before Ray is imported; the processes that it starts inherit them."""


def import_ray() -> Any:
    """The package `ray`, which reports nothing about its use.

    Raises:
        ResourceError: If it is missing.
    """
    os.environ.update(QUIET)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ResourceError(
            "the package ray is not installed, or does not load", expected="the extra `ray`", fix=INSTALL
        ) from error
