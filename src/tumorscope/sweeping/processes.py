"""Which process works at a trial, and whether it is still there.

A process is known by its number and its start, so that another one with the same number is not taken for it. Of a
process on another machine only a sign of life can be seen: a file that it touches.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BEAT_S = 5.0
SILENT_S = 120.0
"""A process elsewhere that has not touched its file for so long is gone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process: `place` is machine, boot and process namespace, `started` its start in ticks of that boot."""

    name: str
    place: str
    pid: int
    started: str

    def to_json(self) -> dict[str, Any]:
        """As kept with each trial."""
        return asdict(self)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def here() -> str:
    """Name of the machine since its last start, as the running process sees it."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return "/".join((platform.node(), _text("/proc/sys/kernel/random/boot_id"), namespace))


def _status(pid: int) -> tuple[str, str] | None:
    """State letter and start of a process here; None if there is none, empty strings where it cannot be told."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return "", ""
        return "", ""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def this_process(name: str) -> Worker:
    """The running process under a name of its own."""
    status = _status(os.getpid())
    return Worker(name, here(), os.getpid(), status[1] if status else "")


def gone(worker: dict[str, Any], beats: Path) -> bool:
    """True if the process of a trial is surely no longer there.

    Args:
        worker: `Worker.to_json()`.
        beats: Folder with the files that workers touch.
    """
    if worker.get("place") == here():
        status = _status(int(worker["pid"]))
        return status is None or status[0] in ("Z", "X") or status[1] != worker["started"]
    beat = beats / str(worker.get("name", ""))
    probe = beats / ".now"
    probe.touch()  # both times are those of the machine that holds the folder
    try:
        return probe.stat().st_mtime - beat.stat().st_mtime > SILENT_S
    except OSError:
        return True


def keep_alive(beats: Path, name: str, *, parent: int | None) -> None:
    """Touch this process's file from now on, and end the process when its parent is gone.

    Args:
        beats: Folder of the files.
        name: Name of this process.
        parent: Number of the process that started it; None watches no parent.
    """
    beats.mkdir(parents=True, exist_ok=True)

    def beat() -> None:
        last = 0.0
        while True:
            if parent is not None and os.getppid() != parent:
                os._exit(1)
            if time.monotonic() - last > BEAT_S:
                last = time.monotonic()
                (beats / name).touch()
            time.sleep(0.5)

    threading.Thread(target=beat, name="beat", daemon=True).start()
