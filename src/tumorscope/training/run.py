"""One training run: recipe and data in, a run folder with everything a reader and an engineer need out.

Steps: resolve "auto", split, decode once, build, fit, fit the temperature on validation, write the bundle, open the
test part once, write predictions and evaluation. The report is rendered one floor up, from the folder alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from tumorscope.bundle.bundle import Card, save_bundle
from tumorscope.bundle.network import run_network
from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, write_json, write_text
from tumorscope.core.machine import machine, versions
from tumorscope.core.memory import memory_explained
from tumorscope.data.copies.survey import Survey, survey
from tumorscope.data.image_list import write_images
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.evaluation.calibration import apply_temperature, fit_temperature
from tumorscope.evaluation.conformal import fit_conformal
from tumorscope.evaluation.operating import choose_operating_point
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.cache import PixelCache, open_cache
from tumorscope.imaging.loader import BatchLoader
from tumorscope.models.freeze import apply_freeze, trainable_names
from tumorscope.models.registry import BuiltModel, build_model
from tumorscope.training.assess import assess, open_ledger, predictions_table
from tumorscope.training.attend import check_boxes, region_masks
from tumorscope.training.audited import audit_run
from tumorscope.training.checkpoint import begun_plan, load_checkpoint
from tumorscope.training.control import PERMUTED, control_result, taught_targets
from tumorscope.training.fit import fit
from tumorscope.training.gating import input_gate
from tumorscope.training.losses import Loss, make_loss, outputs_needed
from tumorscope.training.parts import draw_split, gate, overlaps
from tumorscope.training.plan import Plan, choose_plan, threads_set
from tumorscope.training.plan_words import spelled
from tumorscope.training.recipe import Recipe, to_toml
from tumorscope.training.records import code_sha256, write_records
from tumorscope.training.resolve import preprocessing_of, resolve, wishes_of, with_plan

PROBE_IMAGES = 4


@dataclass(frozen=True)
class Run:
    """A finished run folder.

    Attributes:
        folder: Where it lies.
        evaluation: The content of `evaluation.json`.
    """

    folder: Path
    evaluation: dict[str, Any]


def decode(recipe: Recipe, manifest: Manifest, console: Console) -> PixelCache:
    """The data's pixel cache for this recipe; decoded now if it is not there."""
    from tumorscope.core.screen import bar

    preprocessing = preprocessing_of(recipe)
    with bar(console, "decode") as progress:
        return open_cache(
            [r.pixels_sha256 for r in manifest.records],
            manifest.pixels,
            preprocessing,
            progress=progress,
        )


def find_copies(manifest: Manifest, console: Console) -> Survey:
    """The data's copies; found now if they are not kept from before."""
    from tumorscope.core.screen import stages

    with stages(console) as progress:
        return survey(manifest, progress=progress)


def _plan(
    recipe: Recipe, built: BuiltModel, loader: BatchLoader, loss: Loss, architecture: dict[str, Any], device: str
) -> Plan:
    """One plan for the whole run, measured with the stage that trains most."""
    heaviest = max((stage.trainable for stage in recipe.stage.values()), key=lambda t: len(trainable_names(built, t)))
    images, targets, *_ = next(iter(loader))
    apply_freeze(built, heaviest)
    built.module.train()
    wishes = wishes_of(recipe)
    if recipe.train.attend != "none":
        wishes = replace(wishes, compile=False)  # a compiled network does not show its layers
    return choose_plan(
        built.module,
        images.contiguous(),
        lambda logits: loss(logits, targets),
        device=device,
        wishes=wishes,
        steps=sum(stage.epochs for stage in recipe.stage.values() if stage.trainable == "all") * len(loader),
        key={"architecture": architecture, "batch": len(images), "trainable": heaviest},
    )


def _build(recipe: Recipe, classes: int) -> tuple[BuiltModel, dict[str, Any]]:
    """The network with seeded random weights, and the arguments that build it again."""
    part = recipe.model
    architecture: dict[str, Any] = {
        "name": part.name,
        "outputs": outputs_needed(recipe.train, classes),
        "channels": recipe.image.channels,
        "size_px": recipe.image.size_px,
        "dropout": part.dropout,
        "options": dict(part.options),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        built = build_model(
            **architecture,
            weights=part.weights,
            mean=None if part.mean is None else tuple(part.mean),
            std=None if part.std is None else tuple(part.std),
        )
    return built, architecture


def check_out(out: Path, *, resume: bool) -> None:
    """Refuse an output folder that would be overwritten, or that holds nothing to resume."""
    if out.exists() and not out.is_dir():
        raise UsageError("--out names a file", expected="a folder", where=out, fix="choose another name")
    if not out.exists() or not any(out.iterdir()):
        if resume:
            raise UsageError("nothing to resume", expected="a run folder", where=out, fix="leave --resume out to start")
        return
    if not resume:
        raise UsageError(
            "the output folder is not empty",
            expected="a new or empty folder",
            where=out,
            fix="choose another --out, or --resume to go on with a stopped run",
        )


def _same_run(out: Path, expected: dict[str, str]) -> None:
    """Refuse to take a finished run for another one."""
    found = read_json(out / "run.json")["hashes"]
    for name, value in expected.items():
        if found.get(name) != value:
            raise IntegrityError(
                f"the finished run was made with another {name}",
                expected=f"{name} {value[:12]}…, found {str(found.get(name))[:12]}…",
                where=out,
                fix="use the same recipe, overrides and data, or train into a new folder",
            )


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


def train(
    recipe: Recipe,
    manifest: Manifest,
    *,
    out: Path,
    command: str,
    split: Split | None = None,
    accept_leaks: bool = False,
    resume: bool = False,
    console: Console | None = None,
    stamps: Sequence[str] = (),
) -> Run:
    """Train, evaluate once, and leave a run folder (without the HTML report).

    Args:
        recipe: As loaded; "auto" values are resolved here.
        manifest: The data.
        out: Run folder; new or empty, or a stopped run with `resume`.
        command: The command that rebuilds the run, for the report.
        split: A split made before; by default it is made by the recipe's policy and seed.
        accept_leaks: Train although copies or patients cross the split; the report is stamped.
        resume: Go on with a stopped run; a finished one is left as it is.
        console: Where progress goes; standard error by default.
        stamps: Sentences to be shown prominently on the report.

    Raises:
        UsageError: If `out` is not empty, or the recipe does not fit the data.
        DataError: If classes differ, a part would be empty, or copies cross the split.
        IntegrityError: If a checkpoint or split belongs to other data.
    """
    console = console or Console(stderr=True)
    check_out(out, resume=resume)
    recipe = resolve(recipe, manifest)
    seed = recipe.train.seed
    copies = find_copies(manifest, console)
    split = split or draw_split(recipe, manifest, copies)
    stamps = [*stamps, *gate(manifest, split, copies, accept=accept_leaks)]
    if recipe.train.control == "permuted-labels":
        stamps.append(PERMUTED)
    if resume and (out / "run.json").is_file():
        _same_run(out, {"recipe": recipe.sha256, "split": split.sha256, "data": manifest.sha256})
        console.print(f"{out}: finished before; nothing is trained again", highlight=False, markup=False)
        return Run(out, read_json(out / "evaluation.json"))
    if resume and (out / "checkpoint.pt").is_file():
        load_checkpoint(out / "checkpoint.pt", recipe_sha256=recipe.sha256, split_sha256=split.sha256)
    out.mkdir(parents=True, exist_ok=True)
    split.save(out / "split.json")
    cache = decode(recipe, manifest, console)
    built, architecture = _build(recipe, len(manifest.classes))
    positive = None if recipe.data.positive is None else manifest.classes.index(recipe.data.positive)
    manifest = replace(manifest, positive=recipe.data.positive)
    rows = {part: split.rows(manifest, part) for part in ("train", "val", "test")}
    taught = taught_targets(manifest.targets, rows, control=recipe.train.control, seed=seed)
    loss = make_loss(
        recipe.train,
        train_targets=taught[rows["train"]],
        classes=len(manifest.classes),
        positive=positive,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    common: dict[str, Any] = {
        "batch_size": recipe.train.batch_size,
        "normalisation": built.normalisation,
        "seed": seed,
        "device": device,
    }
    augment = recipe.augment.model_dump()
    augment["scale"] = tuple(augment["scale"])
    regions = None
    if recipe.train.attend == "boxes":
        boxed = check_boxes(manifest, rows["train"])
        regions = region_masks(manifest, cache)
        console.print(f"attend: boxes on {boxed:,} of {len(rows['train']):,} training images", highlight=False)
    train_loader = BatchLoader(
        cache.images,
        taught,
        rows=rows["train"],
        augment=AugmentSpec(**augment),
        regions=regions,
        shuffle=True,
        **common,
    )
    val_loader = BatchLoader(cache.images, taught, rows=rows["val"], **common)

    counts = split.counts(manifest)
    console.print(
        f"{manifest.summary}\nsplit {split.policy}: "
        + ", ".join(f"{part} {sum(c.values()):,}" for part, c in counts.items())
        + f"\nmodel {recipe.model.name}, {built.parameters:,} parameters, weights {built.weights}",
        highlight=False,
        markup=False,
    )
    plan = begun_plan(out) if resume else None
    plan = plan or _plan(recipe, built, train_loader, loss, architecture, device)
    console.print(f"plan: {plan.line()}  ({plan.reason})", highlight=False, markup=False)
    decided = with_plan(recipe, plan, taught[rows["train"]], positive)
    write_text(out / "recipe.resolved.toml", to_toml(decided))
    fits = memory_explained(
        f"a training batch of {recipe.train.batch_size} images of {recipe.image.size_px} px",
        fix=f"lower train.batch_size or image.size_px, or free memory; --resume goes on from the last epoch of {out}",
    )
    with threads_set(plan.threads), fits:
        result = fit(
            recipe,
            built,
            train_loader,
            val_loader,
            folder=out,
            loss=loss,
            classes=len(manifest.classes),
            positive=positive,
            plan=plan,
            split_sha256=split.sha256,
            console=console,
            resume=resume,
        )
    built.module.to("cpu")

    def logits_of(part: str) -> NDArray[np.float64]:
        return run_network(
            built.module,
            cache.images,
            rows=rows[part],
            normalisation=built.normalisation,
            classes=len(manifest.classes),
            positive=positive,
        )

    val_logits = logits_of("val")
    temperature = fit_temperature(val_logits, taught[rows["val"]])
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
        architecture=architecture,
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
        "seed": seed,
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
            probs=apply_temperature(logits_of("test"), temperature),
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
        out, recipe, manifest, split, copies, built, result, provenance, temperature=temperature, stamps=stamps
    )
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return Run(out, evaluation)
