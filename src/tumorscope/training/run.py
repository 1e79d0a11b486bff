"""One training run: recipe and data in, a run folder with everything a reader and an engineer need out.

Steps: resolve "auto", split, decode once, build, fit; what follows is in `finishing`. The report is rendered one floor
up, from the folder alone. Where several processes train together, all go this way side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tumorscope.core.errors import IntegrityError, UsageError
from tumorscope.core.files import read_json, write_text
from tumorscope.core.memory import memory_explained
from tumorscope.data.copies.survey import Survey, survey
from tumorscope.data.manifest import Manifest
from tumorscope.data.split import Split
from tumorscope.imaging.augment import AugmentSpec
from tumorscope.imaging.cache import PixelCache, open_cache
from tumorscope.imaging.loader import BatchLoader
from tumorscope.models.freeze import apply_freeze, trainable_names
from tumorscope.models.registry import BuiltModel, build_model
from tumorscope.training.attend import regions_to_attend
from tumorscope.training.checkpoint import begun_plan, load_checkpoint
from tumorscope.training.control import PERMUTED, taught_targets
from tumorscope.training.finishing import Trained, finish
from tumorscope.training.fit import fit
from tumorscope.training.losses import Loss, make_loss, outputs_needed
from tumorscope.training.parts import draw_split, gate
from tumorscope.training.plan import Plan, choose_plan, threads_set
from tumorscope.training.processes import ALONE, Processes
from tumorscope.training.recipe import Recipe, to_toml
from tumorscope.training.resolve import preprocessing_of, resolve, wishes_of, with_plan


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
    recipe: Recipe,
    built: BuiltModel,
    loader: BatchLoader,
    loss: Loss,
    architecture: dict[str, Any],
    device: str,
    *,
    alone: bool,
) -> Plan:
    """One plan for the whole run, measured with the stage that trains most."""
    heaviest = max((stage.trainable for stage in recipe.stage.values()), key=lambda t: len(trainable_names(built, t)))
    images, targets, *_ = next(iter(loader))
    apply_freeze(built, heaviest)
    built.module.train()
    wishes = wishes_of(recipe)
    if recipe.train.attend != "none":
        wishes = replace(wishes, compile=False)  # a compiled network does not show its layers
    elif not alone and wishes.compile == "auto":
        wishes = replace(wishes, compile=False)  # norms that wait for other processes are not compiled
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


def _check_compiled(wanted: bool, processes: Processes) -> None:
    """Refuse a compiled network in several processes: its norms wait for the others, which is not compiled."""
    if wanted and not processes.alone:
        raise UsageError(
            f"a compiled network in {processes.world} processes",
            expected="one process, or a network that is not compiled",
            where="[train] compile",
            fix="leave train.compile out, or --plan plain",
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
    processes: Processes = ALONE,
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
        processes: Those that train together; all call this with the same arguments, and the first alone writes.

    Returns:
        The run; its evaluation is empty in all processes but the first.

    Raises:
        UsageError: If `out` is not empty, the recipe does not fit the data, or several processes are to compile.
        DataError: If classes differ, a part would be empty, or copies cross the split.
        IntegrityError: If a checkpoint or split belongs to other data.
    """
    console = processes.console(console or Console(stderr=True))
    if processes.first:
        check_out(out, resume=resume)
    recipe = resolve(recipe, manifest)
    _check_compiled(recipe.train.compile is True, processes)
    seed = recipe.train.seed
    copies = find_copies(manifest, console) if processes.first else None

    def begin() -> tuple[Split, list[str], bool]:
        """The parts, what the report is stamped with, and whether the run is finished already."""
        assert copies is not None
        chosen = split or draw_split(recipe, manifest, copies)
        marks = [*stamps, *gate(manifest, chosen, copies, accept=accept_leaks)]
        if recipe.train.control == "permuted-labels":
            marks.append(PERMUTED)
        done = resume and (out / "run.json").is_file()
        if done:
            _same_run(out, {"recipe": recipe.sha256, "split": chosen.sha256, "data": manifest.sha256})
        elif resume and (out / "checkpoint.pt").is_file():
            load_checkpoint(out / "checkpoint.pt", recipe_sha256=recipe.sha256, split_sha256=chosen.sha256)
        return chosen, marks, done

    split, stamps, finished = processes.from_first(begin)
    if finished:
        console.print(f"{out}: finished before; nothing is trained again", highlight=False, markup=False)
        return Run(out, read_json(out / "evaluation.json") if processes.first else {})
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
        split.save(out / "split.json")
    cache = processes.in_turn(lambda: decode(recipe, manifest, console))
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
        "share": processes.share,
    }
    augment = recipe.augment.model_dump()
    augment["scale"] = tuple(augment["scale"])
    regions = None
    if recipe.train.attend == "boxes":
        free = recipe.train.lesion_free
        regions, boxed = regions_to_attend(manifest, cache, rows["train"], lesion_free=free)
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
    plan = processes.from_first(
        lambda: (
            (begun_plan(out) if resume else None)
            or _plan(recipe, built, train_loader, loss, architecture, device, alone=processes.alone)
        )
    )
    _check_compiled(plan.compile, processes)
    together = "" if processes.alone else f", {processes.world} processes with a share of each batch"
    console.print(f"plan: {plan.line()}{together}  ({plan.reason})", highlight=False, markup=False)
    if processes.first:
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
            processes=processes,
        )
    built.module.to("cpu")
    trained = Trained(
        recipe,
        manifest,
        split,
        built,
        architecture,
        cache=cache,
        rows=rows,
        taught=taught,
        result=result,
        processes=processes,
    )
    if copies is None:
        # the first process asks for these answers, each gives its share
        for part in ("val", "test"):
            trained.logits(part)
        return Run(out, {})
    return Run(out, finish(trained, copies, out=out, command=command, stamps=stamps))
