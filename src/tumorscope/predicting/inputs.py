"""What to predict: files, folders, patterns and lists, as one list of paths.

In: the words of a command line. Out: paths in the order given, folders opened in sorted order. A word that names no
file stays in the list: its row will say that the file is missing, so that rows match inputs.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorscope.core.errors import UsageError
from tumorscope.data.sources.walk import walk

LIST = "-"
"""The word for a list of paths on standard input."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Paths to predict.

    Attributes:
        paths: As given, or below the folder given.
        left_out: Files in folders that are no images by name, hidden, or broken links.
    """

    paths: tuple[str, ...]
    left_out: int


def expand(words: Sequence[str], *, listed: str = "") -> Inputs:
    """All inputs that `words` name.

    Args:
        words: Files, folders, patterns with * ? [ ], or "-" for `listed`.
        listed: Content of standard input: one path a line, or ended by NUL characters (as `find -print0` gives).

    Raises:
        UsageError: If a pattern matches nothing, or nothing is left to predict.
    """
    paths: list[str] = []
    left_out = 0
    for word in words:
        if word == LIST:
            separator = "\0" if "\0" in listed else "\n"
            paths += [line.rstrip("\r") for line in listed.split(separator) if line.strip("\r")]
        elif Path(word).is_dir():
            found = walk(Path(word), "")
            paths += [str(Path(word) / name) for name in found.files]
            left_out += len(found.faults)
        elif not Path(word).exists() and glob.has_magic(word):
            matches = sorted(m for m in glob.glob(word, recursive=True) if Path(m).is_file())
            if not matches:
                raise UsageError(
                    f"no file matches {word!r}", expected="a file", where="PATH", fix="check the pattern, or quote it"
                )
            paths += matches
        else:
            paths.append(word)
    if not paths:
        raise UsageError(
            "nothing to predict",
            expected="files, folders with images, patterns, or a list on standard input",
            where="PATH",
            fix="check the paths; files that are no images by name are left out of folders",
        )
    return Inputs(tuple(paths), left_out)
