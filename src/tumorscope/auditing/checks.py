"""Every check of the audit, registered once; `tests/auditing/test_contract.py` holds each to the same contract."""

from __future__ import annotations

from tumorscope.auditing.check import Check
from tumorscope.auditing.integrity import INTEGRITY_CHECKS
from tumorscope.auditing.labels import LABEL_CHECKS
from tumorscope.auditing.leaks import LEAK_CHECKS
from tumorscope.auditing.shortcuts import SHORTCUT_CHECKS

CHECKS: tuple[Check, ...] = (*LEAK_CHECKS, *LABEL_CHECKS, *SHORTCUT_CHECKS, *INTEGRITY_CHECKS)
"""All checks, in the order of `audit.json`."""

CODES: dict[str, Check] = {check.code: check for check in CHECKS}
"""Checks by code."""
