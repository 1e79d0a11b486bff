"""How well the input gate tells scans of the training data's kind from everything else.

    python -m benchmarks.gate --data DATA [--designing] [--json FILE]

For each model: the gate is fitted by the function that training uses, from the training part, its limits set on the
validation part, of the split that the shipped recipe makes. False refusals are counted on the official test part (on
the test parts of five folds where the data has none), which the gate never saw; refusals of other pictures by kind.
Kinds marked as unseen were not looked at while the gate was designed; `--designing` leaves them out. Intervals are
95%, Wilson's, with the design effect of pictures that come from one source. How often models abstain is computed from
the finished runs' own tables, if `--runs` has them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.gate_pictures import KINDS, Kind, Make, Sourced, dicom, one_mri
from tumorscope.bundle.gate import Gate
from tumorscope.core.files import read_json, write_json
from tumorscope.core.types import Estimate, Pixels
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.data.splitting import make_folds
from tumorscope.evaluation.conformal import describe_sets, fit_conformal, from_json
from tumorscope.evaluation.intervals import proportion
from tumorscope.evaluation.predictions import read_csv
from tumorscope.imaging.cache import PixelCache
from tumorscope.imaging.preprocess import preprocess
from tumorscope.training.gating import input_gate
from tumorscope.training.parts import draw_split, rules_of
from tumorscope.training.recipe import Recipe, load_recipe
from tumorscope.training.resolve import resolve
from tumorscope.training.run import decode

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results" / "gate.md"
SCANS = 200
"""Test scans from which changed scans are made."""
OTHERS = 300
SEEN = """Looked at by eye, one reader, all 30: four are CT in sets that call themselves MRI (`Te-meTr_0009`,
`Te-me_0105`, `Te-me_0015`, `Te-no_0092`), four have a white frame or white margins, four have arrows or the name of a
web site drawn in, three are slices through the base of the skull, two are diffusion images; `test/126` of BreastMNIST
is black but for a strip of tissue. The others look ordinary."""
"""What a reader saw who looked at the refused scans below; to be looked at again when they change."""
NAMED = 30
"""Refused real scans named on the page, a model."""


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        name: Of the model.
        data: Folder or file below DATA.
        recipe: Whose preprocessing and split are used.
        folds: Cross-validation folds, or 0 for the official test part.
        run: Finished run or series below RUNS.
    """

    name: str
    data: str
    recipe: str
    folds: int
    run: str


CASES = (
    Case("brain-mri-4class", "brain-mri-4class", "brain-mri-4class-efficientnet", 0, "4class-efficientnet"),
    Case("brain-mri-yesno", "brain-mri-yesno", "brain-mri-yesno-resnet50", 5, "yesno"),
    Case("brain-mri-boxes", "brain-mri-boxes", "brain-mri-boxes-resnet50", 0, "boxes"),
    Case("breastmnist", "breastmnist/breastmnist.npz", "breastmnist-cnn", 0, "breastmnist"),
)
BREAST = "breastmnist"


@dataclass(frozen=True)
class Fitted:
    """A gate with the scans it is asked about that it never saw.

    Attributes:
        gate: Fitted.
        test: Positions of test images in the manifest.
        split: That it was fitted on.
    """

    gate: Gate
    test: NDArray[np.int64]
    split: Split


@dataclass(frozen=True)
class Ready:
    """One model's data and gates."""

    case: Case
    recipe: Recipe
    manifest: Manifest
    cache: PixelCache
    fitted: tuple[Fitted, ...]


def ready(case: Case, data: Path, console: Console) -> Ready:
    """Load the data and fit the gates, as training does."""
    manifest = load(str(data / case.data))
    recipe = resolve(load_recipe(case.recipe), manifest)
    copies = survey(manifest)
    splits: Sequence[Split] = (
        make_folds(
            manifest, copies, folds=case.folds, seed=recipe.train.seed, val_fraction=rules_of(recipe).val_fraction
        )
        if case.folds
        else (draw_split(recipe, manifest, copies),)
    )
    cache = decode(recipe, manifest, console)
    fitted = []
    for split in splits:
        start = time.perf_counter()
        gate = input_gate(manifest, split, cache)
        if gate is None:
            raise SystemExit(f"{case.name}: too few images for a gate")
        console.print(
            f"{case.name}: gate in {time.perf_counter() - start:.1f} s, {gate.calibration_images} to set it on"
        )
        fitted.append(Fitted(gate, split.rows(manifest, "test"), split))
    return Ready(case, recipe, manifest, cache, tuple(fitted))


def share(hits: Sequence[bool], sources: Sequence[str]) -> Estimate:
    """Share of hits; pictures of one source count as one group."""
    codes = np.unique(np.array(sources), return_inverse=True)[1].astype(np.int64)
    return proportion(np.array(hits, dtype=np.bool_), codes=codes)


def false_refusals(one: Ready) -> dict[str, Any]:
    """Test scans that the gates refuse: share, by class, and which."""
    paths: list[str] = []
    reasons: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    for part in one.fitted:
        for i, pixels in zip(part.test.tolist(), one.manifest.pixels(part.test.tolist()), strict=True):
            record = one.manifest.records[i]
            paths.append(record.path)
            labels.append(record.label)
            groups.append(str(part.split.groups.get(record.path, record.path)))
            reasons.append(part.gate.refusal(pixels, np.array(one.cache.images[i])))
    refused = [bool(reason) for reason in reasons]
    by_class = {}
    for label in one.manifest.classes:
        chosen = [i for i, own in enumerate(labels) if own == label]
        by_class[label] = _counted([refused[i] for i in chosen], [groups[i] for i in chosen])
    return {
        **_counted(refused, groups),
        "by_class": by_class,
        "which": {path: reason for path, reason in zip(paths, reasons, strict=True) if reason},
    }


def _counted(hits: Sequence[bool], sources: Sequence[str]) -> dict[str, Any]:
    found = share(hits, sources)
    return {
        "n": len(hits),
        "sources": len(set(sources)),
        "refused": sum(hits),
        "value": found.value,
        "low": found.low,
        "high": found.high,
    }


def refusals(one: Ready, pictures: Sequence[Sourced]) -> dict[str, Any]:
    """Pictures of one kind that the gates refuse; folds take turns."""
    hits, words = [], Counter[str]()
    for i, (_, pixels) in enumerate(pictures):
        gate = one.fitted[i % len(one.fitted)].gate
        reason = gate.refusal(pixels, preprocess(pixels, one.cache.preprocessing)[0])
        hits.append(bool(reason))
        words[reason.split(":")[0].split(" in ")[0]] += 1
    return {**_counted(hits, [source for source, _ in pictures]), "reasons": dict(words)}


def kinds_for(case: Case, manifests: dict[str, Manifest]) -> list[Kind]:
    """`KINDS`, the other real set, the other sets of the same kind, and DICOM samples."""
    breast = case.name == BREAST
    other = "brain-mri-4class" if breast else BREAST
    added = [Kind(f"other organ and modality, real: {other}", real(manifests[other]), OTHERS)]
    if breast:
        added.append(Kind("DICOM samples: CT, nuclear medicine, abdominal MRI", dicom(_no_ultrasound), 60, final=True))
        added.append(Kind("DICOM samples: heart ultrasound", dicom(_ultrasound), 30, final=True, counted=False))
    else:
        added.append(Kind("DICOM samples: heart ultrasound", dicom(_ultrasound), 60, final=True))
        added.append(Kind("DICOM samples: CT, nuclear medicine, abdominal MRI", dicom(_no_ultrasound), 60, final=True))
        added.append(Kind("one brain MRI slice of another scanner", one_mri, 5, final=True, counted=False))
        for name, manifest in manifests.items():
            if name not in (case.name, BREAST):
                added.append(Kind(f"same kind, other collection: {name}", real(manifest), OTHERS, counted=False))
    return [*added, *KINDS]


def _ultrasound(modality: str, body: str) -> bool:
    return modality == "US"


def _no_ultrasound(modality: str, body: str) -> bool:
    return modality != "US"


def real(manifest: Manifest) -> Make:
    """Images of another data set."""

    def make(rng: np.random.Generator, n: int, scans: Sequence[Pixels]) -> Any:
        del scans
        rows = np.sort(rng.permutation(len(manifest))[:n]).tolist()
        for i, pixels in zip(rows, manifest.pixels(rows), strict=True):
            yield manifest.records[i].path, pixels

    return make


def abstentions(case: Case, runs: Path) -> dict[str, Any] | None:
    """How often the finished run abstains on test, and its accuracy where it answers; limits from its validation."""
    root = runs / case.run
    folders = sorted(path.parent for path in root.rglob("predictions-val.csv"))
    rows = []
    for folder in folders:
        record = read_json(folder / "bundle" / "card.json")
        classes = tuple(record["classes"])
        tables = [read_csv(folder / name) for name in ("predictions-val.csv", "predictions.csv")]
        if any(table.classes != classes for table in tables):
            raise SystemExit(f"{folder}: classes of the tables and of the card differ")
        stored = record.get("prediction_sets")
        sets = (
            from_json(stored, classes) if stored else fit_conformal(tables[0].probs, tables[0].targets, classes=classes)
        )
        told = describe_sets(sets, tables[1])["abstention"]
        rows.append({**told, "accuracy": float(tables[1].correct.mean())})
    if not rows:
        return None
    n = sum(row["n"] for row in rows)
    answered = sum(row["n_answered"] for row in rows)
    right = sum((row["accuracy_answered"]["value"] or 0) * row["n_answered"] for row in rows)
    return {
        "runs": len(rows),
        "n": n,
        "share": 1 - answered / n,
        "accuracy": sum(row["accuracy"] * row["n"] for row in rows) / n,
        "accuracy_answered": right / answered if answered else None,
    }


def speed(one: Ready) -> float:
    """Milliseconds that the gate adds to one image; median over test scans."""
    part = one.fitted[0]
    rows = part.test[:50].tolist()
    pictures = [(p, np.array(one.cache.images[i])) for i, p in zip(rows, one.manifest.pixels(rows), strict=True)]
    times = []
    for pixels, image in pictures * 3:
        start = time.perf_counter()
        part.gate.refusal(pixels, image)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure(
    one: Ready, manifests: dict[str, Manifest], runs: Path, *, designing: bool, console: Console
) -> dict[str, Any]:
    """Everything about one model."""
    test = one.fitted[0].test
    chosen = np.sort(np.random.default_rng(1).permutation(test)[:SCANS]).tolist()
    scans = list(one.manifest.pixels(chosen))
    found: dict[str, Any] = {}
    for kind in kinds_for(one.case, manifests):
        if kind.final and designing:
            continue
        pictures = list(kind.make(np.random.default_rng(7), kind.n, scans))
        found[kind.title] = {**refusals(one, pictures), "final": kind.final, "counted": kind.counted}
        console.print(f"  {kind.title}: {found[kind.title]['refused']} of {found[kind.title]['n']}")
    gates = [part.gate for part in one.fitted]
    return {
        "calibration_images": [gate.calibration_images for gate in gates],
        "cross_fitted": [gate.cross_fitted for gate in gates],
        "limits": [gate.summary()["limits"] for gate in gates],
        "real": false_refusals(one),
        "kinds": found,
        "milliseconds": speed(one),
        "abstention": abstentions(one.case, runs),
    }


def pooled(kinds: dict[str, Any], *, final: bool) -> tuple[int, int, float]:
    """Refused and all counted pictures of the seen or unseen kinds, and the mean of the kinds' shares."""
    own = [kind for kind in kinds.values() if kind["counted"] and kind["final"] is final]
    mean = sum(kind["value"] for kind in own) / len(own) if own else float("nan")
    return sum(kind["refused"] for kind in own), sum(kind["n"] for kind in own), mean


def overall(kinds: dict[str, Any]) -> float:
    """Mean share of the counted kinds."""
    return float(np.mean([kind["value"] for kind in kinds.values() if kind["counted"]]))


def span(one: dict[str, Any]) -> str:
    """`0.97 (0.95 to 0.99), 12 of 400`."""
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}), {one['refused']:,} of {one['n']:,}"


def page(results: dict[str, Any]) -> str:
    """The results page as Markdown."""
    lines = [
        "# The input gate: what it refuses",
        "",
        "Made by `python -m benchmarks.gate --data DATA --runs RUNS`. The gate of each model is fitted by the function "
        "that training uses, on the training part; its limits are set on validation images (and, for a class with "
        "fewer than 100, on training images measured by distances fitted to others), to refuse at most 5% of each "
        "class. The test part was not used. Intervals are 95%; crops of one photo are one source, and copies of a "
        "scan one group.",
        "",
        "| model | false refusals on held-out real scans | flagged, kinds seen while designing: mean of kinds | "
        "flagged, unseen kinds: mean of kinds | gate, ms an image |",
        "|---|---|---|---|---|",
    ]
    for name, one in results.items():
        seen, unseen = (pooled(one["kinds"], final=final) for final in (False, True))
        lines.append(
            f"| {name} | {span(one['real'])} | {seen[2]:.3f}, {seen[0]:,} of {seen[1]:,} | "
            f"{unseen[2]:.3f}, {unseen[0]:,} of {unseen[1]:,} | {one['milliseconds']:.2f} |"
        )
    lines += [
        "",
        "The target was 0.95 flagged at 0.05 false refusals. Seen and unseen kinds together, mean of kinds: "
        + ", ".join(f"{name} {overall(one['kinds']):.3f}" for name, one in results.items())
        + ".",
        "",
        "## By kind",
        "",
    ]
    titles = list(dict.fromkeys(title for one in results.values() for title in one["kinds"]))
    lines += [
        "Share refused, with the interval and the number of pictures and of sources. *Unseen* kinds were looked at "
        "once, after the design was fixed.",
        "",
        "| kind | " + " | ".join(results) + " |",
        "|---|" + "---|" * len(results),
    ]
    groups = defaultdict(list)
    for title in titles:
        first = next(one["kinds"][title] for one in results.values() if title in one["kinds"])
        groups[first["counted"], first["final"]].append(title)
    for (counted, final), own in sorted(groups.items(), key=lambda item: (not item[0][0], item[0][1])):
        heading = (
            ("seen while designing", "unseen")[final] if counted else "not counted: scans of the right kind, or near it"
        )
        if f"| **{heading}** |" + " |" * len(results) not in lines:
            lines.append(f"| **{heading}** |" + " |" * len(results))
        for title in own:
            cells = [_cell(one["kinds"].get(title)) for one in results.values()]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "## Which real scans are refused", "", *SEEN.splitlines(), ""]
    for name, one in results.items():
        found = one["real"]
        classes = "; ".join(f"{label} {own['refused']} of {own['n']}" for label, own in found["by_class"].items())
        lines += [f"**{name}**: {classes}.", ""]
        lines += [f"- `{path}`: {reason}" for path, reason in list(found["which"].items())[:NAMED]]
        if (more := len(found["which"]) - NAMED) > 0:
            lines.append(f"- and {more} more")
        lines.append("")
    told = {name: one["abstention"] for name, one in results.items() if one["abstention"]}
    if told:
        lines += [
            "## Abstention",
            "",
            "Test images of the finished runs for which no class is named, because the prediction set (coverage 0.9, "
            "limits from validation) is empty, full, or without the most probable class; and the accuracy where one is "
            "named.",
            "",
            "| model | runs | n | no class named | accuracy, all | accuracy where a class is named |",
            "|---|---|---|---|---|---|",
        ]
        for name, row in told.items():
            lines.append(
                f"| {name} | {row['runs']} | {row['n']:,} | {row['share']:.3f} | {row['accuracy']:.4f} | "
                f"{row['accuracy_answered']:.4f} |"
            )
    return "\n".join(lines).rstrip() + "\n"


def _cell(kind: dict[str, Any] | None) -> str:
    if kind is None:
        return "–"
    sources = "" if kind["sources"] == kind["n"] else f" from {kind['sources']}"
    return f"{kind['value']:.2f} ({kind['low']:.2f} to {kind['high']:.2f}), n = {kind['n']}{sources}"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the four data sets")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--designing", action="store_true", help="leave the unseen kinds out, and write no page")
    parser.add_argument("--json", type=Path, help="keep every figure there")
    parser.add_argument("--from-json", type=Path, help="measure nothing: write the page from kept figures")
    options = parser.parse_args()
    if options.from_json:
        PAGE.write_text(page(read_json(options.from_json)), encoding="utf-8")
        return
    console = Console(stderr=True, highlight=False)
    manifests = {case.name: load(str(options.data / case.data)) for case in CASES}
    results = {}
    for case in CASES:
        if options.only and case.name not in options.only:
            continue
        one = ready(case, options.data, console)
        results[case.name] = measure(one, manifests, options.runs, designing=options.designing, console=console)
        console.print(f"{case.name}: false refusals {span(results[case.name]['real'])}")
    if options.json:
        write_json(options.json, results)
    text = page(results)
    if options.designing or (options.only and len(results) < len(CASES)):
        sys.stdout.write(text)
        return
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
