"""What follows training: the temperature, the bundle, the test part opened once, and the records of the run folder.

In: a trained network with its data and parts. Out: the files that a run leaves, `run.json` last. Validation and test
images are answered by all processes that trained, each its share, and every image is counted once; the rest is done by
the first of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.bundle.bundle import Card, save_bundle
from tumorscope.bundle.network import run_network
from tumorscope.core.files import write_json
from tumorscope.core.machine import machine, versions
from tumorscope.core.types import Logits, Targets
from tumorscope.data.copies.survey import Survey
from tumorscope.data.image_list import write_images
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.evaluation.calibration import apply_temperature, fit_temperature
from tumorscope.evaluation.conformal import fit_conformal
from tumorscope.evaluation.operating import choose_operating_point
from tumorscope.imaging.cache import PixelCache
from tumorscope.models.registry import BuiltModel
from tumorscope.training.assess import assess, open_ledger, predictions_table
from tumorscope.training.audited import audit_run
from tumorscope.training.control import control_result
from tumorscope.training.fit import FitResult
from tumorscope.training.gating import input_gate
from tumorscope.training.parts import overlaps
from tumorscope.training.plan_words import spelled
from tumorscope.training.processes import Processes
from tumorscope.training.recipe import Recipe
from tumorscope.training.records import code_sha256, write_records
from tumorscope.training.resolve import wishes_of

PROBE_IMAGES = 4


@dataclass(frozen=True)
class Trained:
    """What training leaves in memory.

    Attributes:
        recipe: Resolved.
        manifest: The data, with the positive class that the recipe names.
        split: Its parts.
        built: The network with its best weights, on the CPU.
        architecture: Arguments that build the network again.
        cache: Preprocessed images.
        rows: Positions of train, val and test in the manifest.
        taught: (N,) the targets that were taught; the true ones but for a control.
        result: History of the training.
        processes: Those that trained together.
    """

    recipe: Recipe
    manifest: Manifest
    split: Split
    built: BuiltModel
    architecture: dict[str, Any]
    cache: PixelCache = field(kw_only=True)
    rows: Mapping[str, NDArray[np.int64]] = field(kw_only=True)
    taught: Targets = field(kw_only=True)
    result: FitResult = field(kw_only=True)
    processes: Processes = field(kw_only=True)

    def logits(self, part: str) -> Logits:
        """(n, C) logits of a part, in its order; every process answers its share and gets those of all.

        All processes must call this, for the same parts in the same order.
        """
        wanted, classes, positive = self.rows[part], self.manifest.classes, self.manifest.positive
        mine = wanted[self.processes.share.part(len(wanted))]
        found: Logits = np.zeros((0, len(classes)))
        if len(mine):
            found = run_network(
                self.built.module,
                self.cache.images,
                rows=mine,
                normalisation=self.built.normalisation,
                classes=len(classes),
                positive=None if positive is None else classes.index(positive),
            )
        return np.concatenate(self.processes.gathered(found))


def finish(trained: Trained, copies: Survey, *, out: Path, command: str, stamps: Sequence[str]) -> dict[str, Any]:
    """Write everything that a finished run leaves, and return the content of `evaluation.json`.

    Args:
        trained: What training left.
        copies: Copies in the data.
        out: Run folder.
        command: The command that rebuilds the run.
        stamps: Sentences to be shown prominently on the report.
    """
    recipe, manifest, split, built = trained.recipe, trained.manifest, trained.split, trained.built
    rows, cache, plan = trained.rows, trained.cache, trained.result.plan
    val_logits = trained.logits("val")
    temperature = fit_temperature(val_logits, trained.taught[rows["val"]])
    hashes = {
        "data": manifest.sha256,
        "split": split.sha256,
        "recipe": recipe.sha256,
        "code": code_sha256(),
    }
    validation = predictions_table(
        manifest, split, part="val", rows=rows["val"], probs=apply_temperature(val_logits, temperature)
    )
    validation.write_csv(out / "predictions-val.csv")
    point = None if manifest.positive is None else choose_operating_point(validation)
    sets = fit_conformal(validation.probs, validation.targets, classes=manifest.classes)
    card = Card(
        recipe=recipe.name,
        title=recipe.title,
        architecture=trained.architecture,
        preprocessing=cache.preprocessing,
        normalisation=built.normalisation,
        classes=manifest.classes,
        positive=manifest.positive,
        temperature=temperature,
        threshold=None if point is None else point.threshold,
        licence=built.licence,
        metrics={},
        hashes=dict(hashes),
        versions=versions(),
        prediction_sets=sets.to_json(),
        about=_about(manifest, split, copies, rows["test"]),
    )
    probe = np.array(cache.images[rows["val"][:PROBE_IMAGES]])
    doorkeeper = input_gate(manifest, split, cache)
    hashes["bundle"] = save_bundle(out / "bundle", built, card, probe, gate=doorkeeper)
    if not wishes_of(recipe).settled:
        # the plan was measured: the command that rebuilds the run names it
        command += f" --plan {spelled(*astuple(plan.way))}"
    provenance = {
        "command": command,
        "recipe": recipe.name,
        "seed": recipe.train.seed,
        "hashes": hashes,
        "versions": versions(),
        "machine": machine(),
    }
    open_ledger(out, purpose="train", part="test", n=len(rows["test"]), data_sha256=manifest.sha256)
    evaluation = assess(
        manifest,
        split,
        copies,
        predictions=predictions_table(
            manifest,
            split,
            part="test",
            rows=rows["test"],
            probs=apply_temperature(trained.logits("test"), temperature),
        ),
        rows=rows,
        histograms=cache.histograms(),
        operating_point=point,
        sets=sets,
        temperature=temperature,
        provenance=provenance,
        out=out,
    )
    save_bundle(
        out / "bundle",
        built,
        replace(card, metrics=_headline(evaluation)),
        probe,
        gate=doorkeeper,
    )
    write_images(out / "images.csv", manifest, split)
    audited = audit_run(manifest, split, copies, command=command)
    if recipe.train.control != "none":
        audited["findings"].insert(0, control_result(evaluation).to_json())
    write_json(out / "audit.json", audited)
    write_records(
        out,
        recipe,
        manifest,
        split,
        copies,
        built,
        trained.result,
        provenance,
        temperature=temperature,
        stamps=stamps,
        processes=trained.processes.world,
    )
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return evaluation


def _about(manifest: Manifest, split: Split, copies: Survey, test: NDArray[np.int64]) -> dict[str, Any]:
    """The data and how it was divided, for the model card; no path of this machine."""
    return {
        **asdict(manifest.info),
        "counts": split.counts(manifest),
        "policy": split.policy,
        "note": split.note,
        "test_images_sharing": {o.name: int(o.concerned.sum()) for o in overlaps(manifest, split, copies, test)},
    }


def _headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Figures for the model card."""
    figures = {"n": evaluation["n"], "test": evaluation["metrics"]}
    if clean := evaluation["subsets"].get("no copy in training"):
        figures["without_copies"] = {"n": clean["n"], "test": clean["metrics"]}
    return figures
