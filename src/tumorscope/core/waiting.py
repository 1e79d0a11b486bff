"""How idle worker threads of torch wait: a moment awake, then asleep.

A thread that stays awake takes a core from whoever else works; one that sleeps at once is woken hundreds of times a
step, which small networks feel. A thousand turns of the waiting loop are about 20 microseconds. Measured in
`docs/LOG.md`, 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Mapping

WAITING: Mapping[str, str] = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""Environment of a process that computes; what the user has set stays."""
