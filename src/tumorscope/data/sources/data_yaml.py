"""The class names in a detection set's `data.yaml`, by a strict reader of just that key.

YAML as a whole is large and reads `no` as false; class names are text here, whatever they look like.
"""

from __future__ import annotations

import re
from pathlib import Path

from tumorscope.core.errors import DataError

_KEY = re.compile(r"^names\s*:\s*(.*)$")
_NUMBERED = re.compile(r"^(\d+)\s*:\s*(.+)$")
_QUOTED = re.compile(r"""^(?:'((?:[^']|'')*)'|"((?:[^"\\]|\\.)*)")$""")


def read_names(path: Path) -> dict[int, str]:
    """Class name of each number in `path`.

    Accepted are `names: [a, b]`, `names: {0: a, 1: b}`, and the same as lines below, `- a` or `0: a`.

    Raises:
        DataError: No `names`, or written in another way.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"the file cannot be read: {error}") from error
    lines = [_without_comment(line).rstrip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        if match := _KEY.match(line):
            names = _names(match[1], lines[number + 1 :], path)
            break
    else:
        raise _refused(path, "there is no line `names:`")
    if sorted(names) != list(range(len(names))) or not names:
        raise _refused(path, f"class numbers are {sorted(names)}, not 0, 1, 2, ...")
    if len(set(names.values())) != len(names):
        raise _refused(path, "two class numbers have the same name")
    return names


def _names(rest: str, below: list[str], path: Path) -> dict[int, str]:
    if rest[:1] in {"[", "{"}:
        closing = "]" if rest[0] == "[" else "}"
        whole = rest
        for line in below:
            if whole.endswith(closing):
                break
            whole += " " + line.strip()
        if not whole.endswith(closing):
            raise _refused(path, f"`names: {rest}` has no closing {closing}")
        items = _split(whole[1:-1])
    elif rest:
        raise _refused(path, f"`names: {rest}` is neither a list nor a mapping")
    else:
        items = []
        for line in below:
            if line.strip() and not line.startswith((" ", "\t", "-")):
                break
            if line.strip():
                items.append(line.strip())
        if items and all(item.startswith("-") for item in items):
            items = [item[1:].strip() for item in items]
            return {i: _plain(item, path) for i, item in enumerate(items)}
        closing = "}"
    if closing == "]":
        return {i: _plain(item, path) for i, item in enumerate(items)}
    numbered = [_NUMBERED.match(item) for item in items]
    if any(match is None for match in numbered):
        raise _refused(path, f"`names` has entries that are not `number: name`: {items[:3]}")
    return {int(match[1]): _plain(match[2], path) for match in numbered if match}


def _plain(item: str, path: Path) -> str:
    if match := _QUOTED.match(item):
        name = match[1].replace("''", "'") if match[1] is not None else re.sub(r"\\(.)", r"\1", match[2])
    elif item[:1] in set("'\"[{&*!|>%@`"):
        raise _refused(path, f"the class name {item!r} is not plain text")
    else:
        name = item
    if not name.strip():
        raise _refused(path, "a class name is empty")
    return name.strip()


def _split(text: str) -> list[str]:
    """Pieces between commas that stand outside quotes."""
    pieces = re.findall(r"""(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^,'"])+""", text)
    return [piece.strip() for piece in pieces if piece.strip()]


def _without_comment(line: str) -> str:
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i]
    return line


def _refused(path: Path, found: str) -> DataError:
    return DataError(
        f"class names cannot be read: {found}",
        expected="names: [glioma, meningioma]  or one `- name` or `0: name` a line below `names:`",
        where=path,
        fix="write the names in one of these ways",
    )
