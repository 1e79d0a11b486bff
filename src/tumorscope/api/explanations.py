"""Explanations: heat on images, and its score against boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorscope.api.common import manifest_of, quiet_threads
from tumorscope.commands import PathLike, score_command
from tumorscope.data.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console

    from tumorscope.explaining.explain import Explanation


def explain(model: PathLike, image: PathLike, *, method: str | None = None, target: str | None = None) -> Explanation:
    """Heat on one image, with its sanity check; `.save("heat.png")` or `.save("heat.npy")` writes it.

    Args:
        model: Run or bundle folder.
        image: Image file.
        method: "grad-cam", "layer-cam", "hires-cam", "integrated-gradients", "occlusion" or, for transformers,
            "attention-gradients"; by default the first of these that fits the network.
        target: Class to explain; the most probable one by default.

    Raises:
        UsageError: For an unknown class or method.
        DataError: If the image cannot be read.
        IntegrityError: If the bundle is damaged.
    """
    quiet_threads()
    from tumorscope.bundle.predictor import Predictor
    from tumorscope.explaining.explain import explain as explained

    methods = () if method is None else (method,)
    (found,) = explained(Predictor.load(Path(model)), [Path(image)], methods=methods, target=target)
    return found


def score_explanations(
    run: PathLike,
    data: Manifest | PathLike,
    *,
    out: PathLike | None = None,
    methods: Sequence[str] = (),
    mapping: Mapping[str, str] | None = None,
    lesion_free: Sequence[str] = (),
    shuffled: PathLike | None = None,
    trained_on: Manifest | PathLike | None = None,
    command: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Score a run's heatmaps against the boxes of data, next to controls, and write the page.

    Args:
        run: Run folder.
        data: The run's own data (its test images without a copy in training are used), or other data with boxes.
        out: Folder for `explanations.json`, `gallery.npz` and `explanations.html`; RUN/explanations by default.
        methods: Methods to score; by default those that cost about a forward pass and fit the network ("grad-cam",
            "layer-cam" and "hires-cam", or "attention-gradients" for a transformer).
        mapping: Class names of other data that the model calls otherwise.
        lesion_free: Further classes whose boxes surround no lesion.
        shuffled: A run with `train.control = "permuted-labels"`, whose maps are one more control.
        trained_on: With other data: the data that the run was trained on, so that near copies of its training images
            are left out.
        command: What the page gives as the command; made from the arguments by default.
        console: Where progress goes.

    Returns:
        The content of `explanations.json`.

    Raises:
        DataError: If no usable image has a box, or classes do not match.
        UsageError: For an unknown method, or `trained_on` beside the run's own data.
        IntegrityError: If the bundle is damaged.
    """
    quiet_threads()
    from rich.console import Console as Screen

    from tumorscope.core.screen import stages
    from tumorscope.explaining.study import study
    from tumorscope.reporting.explanations_page import render_explanations

    manifest = manifest_of(data)
    learned = None if trained_on is None else manifest_of(trained_on)
    folder = Path(run) / "explanations" if out is None else Path(out)
    with stages(console or Screen(quiet=True)) as progress:
        content = study(
            Path(run),
            manifest,
            out=folder,
            command=command
            or score_command(
                str(run),
                str(manifest.root),
                methods,
                mapping or {},
                lesion_free=lesion_free,
                shuffled=shuffled,
                trained_on=None if learned is None else str(learned.root),
            ),
            methods=methods,
            mapping=mapping,
            lesion_free=lesion_free,
            shuffled=None if shuffled is None else Path(shuffled),
            trained_on=learned,
            progress=progress,
        )
    render_explanations(folder)
    return content
