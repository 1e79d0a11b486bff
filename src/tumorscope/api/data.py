"""Data: look at it, cut it into parts, list what can be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorscope.api.common import manifest_of, quiet_threads
from tumorscope.commands import PathLike, audit_command
from tumorscope.core.errors import UsageError
from tumorscope.data.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console

    from tumorscope.auditing.audit import Audit
    from tumorscope.data.split import Split
    from tumorscope.data.splitting import Rules


def audit(
    data: Manifest | PathLike,
    *,
    out: PathLike | None = None,
    split: PathLike | None = None,
    command: str | None = None,
    ray: str | None = None,
    console: Console | None = None,
) -> Audit:
    """Look for copies, shortcuts, doubtful labels and faulty files.

    Args:
        data: What `load` gives, or what it takes.
        out: Folder for `audit.json`, `pairs.csv` and `audit.html`; nothing is written by default.
        split: Split file whose parts are checked; the data's own parts by default.
        command: What the page gives as the command that makes it again.
        ray: Read image files on a Ray cluster: "HOST:PORT" of its head, or "local".
        console: Where progress goes; nowhere by default.

    Returns:
        What was found; `print` shows the findings.

    Raises:
        UsageError: If `out` is a file.
        DataError: If nothing is usable.
        IntegrityError: If the split file belongs to other data.
        ResourceError: If Ray is missing, or the cluster does not answer or does not see the files.
    """
    quiet_threads()
    from rich.console import Console as Screen

    from tumorscope.auditing.audit import audit as look
    from tumorscope.core.screen import stages
    from tumorscope.data.copies.survey import survey
    from tumorscope.data.split import load_split
    from tumorscope.reporting.audit_page import render_audit
    from tumorscope.scaling.reading import load_on

    if ray is not None and isinstance(data, Manifest):
        raise UsageError(
            "a cluster is named for data that is read already", expected="a path", where="ray", fix="give the path"
        )
    manifest = manifest_of(data) if ray is None else load_on(ray, str(data), console=console)
    parts = None if split is None else load_split(Path(split), manifest).assignment
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UsageError("--out names a file", expected="a folder", where=Path(out), fix="choose another name")
    with stages(console or Screen(quiet=True)) as progress:
        found = look(manifest, survey(manifest, progress=progress), parts=parts, progress=progress)
        if out is not None:
            source = str(data.root) if isinstance(data, Manifest) else str(data)
            content = found.write(Path(out), command=command or audit_command(source, split))
            render_audit(content, found.pairs, manifest.pixels, out=Path(out), progress=progress)
    return found


def split(
    data: Manifest | PathLike,
    *,
    seed: int = 0,
    rules: Rules | None = None,
    folds: int | None = None,
    console: Console | None = None,
) -> tuple[Split, ...]:
    """Splits that copies and patients never cross: one, or one a fold.

    Args:
        data: What `load` gives, or what it takes.
        seed: Root of every random choice.
        rules: Policy and fractions.
        folds: K of a grouped, stratified cross-validation over all images.
        console: Where progress goes; nowhere by default.

    Raises:
        DataError: If a class would have no image in a part, or has fewer groups than folds.
    """
    quiet_threads()
    from rich.console import Console as Screen

    from tumorscope.core.screen import stages
    from tumorscope.data.copies.survey import survey
    from tumorscope.data.splitting import Rules, make_folds, make_split

    manifest = manifest_of(data)
    rules = rules or Rules()
    with stages(console or Screen(quiet=True)) as progress:
        copies = survey(manifest, progress=progress)
    if folds is None:
        return (make_split(manifest, copies, seed=seed, rules=rules),)
    return make_folds(manifest, copies, folds=folds, seed=seed, val_fraction=rules.val_fraction)


def datasets() -> list[dict[str, Any]]:
    """Catalogued data sets: flag, title, modality, labels, images a part, licence, citation."""
    from dataclasses import asdict

    from tumorscope.data.datasets import list_datasets

    return [asdict(entry) for entry in list_datasets()]
