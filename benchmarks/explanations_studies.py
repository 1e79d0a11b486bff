"""What is scored on brain-mri-boxes, and the commands for it: runs that are trained for it, and studies.

In: nothing but the recipes' commands of `benchmarks.results`. Out: words of `tumorscope` commands.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.results import JOBS

DATA = "brain-mri-boxes"
RECIPES = {job.name: job for job in JOBS}
FINE = ("model.options.output_stride=16", "stage.all.epochs=5")
PLAN = ("train.precision=bf16", "train.memory_format=channels_last", "train.threads=1")
ATTEND = ("train.attend=boxes", "train.attend_weight=0.3")
SHUFFLED = ("train.control=permuted-labels", "stage.all.epochs=2")
SHORT = ("stage.all.epochs=4", "stage.all.lr=5e-4")
COMPILED = (*PLAN, "train.compile=true")
TRAINED: dict[str, tuple[str, tuple[str, ...]]] = {
    "boxes": ("boxes", ()),
    "boxes-shuffled": ("boxes", (*PLAN, *SHUFFLED)),
    "boxes-fine": ("boxes", (*FINE, *PLAN)),
    "boxes-attend": ("boxes", (*FINE, *ATTEND, *PLAN)),
    "boxes-attend-shuffled": ("boxes", (*FINE, *ATTEND, *PLAN, *SHUFFLED)),
    "4class-short": ("4class-efficientnet", (*SHORT, *COMPILED)),
}
"""Run folder to a job of `benchmarks.results` and what is set beside it; later values win."""
STAMP = "measured.json"
FOUR = ("No Tumor=notumor",)
SLOW = ("grad-cam", "hires-cam", "integrated-gradients", "occlusion")


@dataclass(frozen=True)
class Study:
    """A run scored on the boxes set.

    Attributes:
        name: Folder of the study.
        run: Run folder below RUNS.
        title: For the page.
        mapping: Class names of the boxes set that the model calls otherwise.
        methods: Methods named on the command line.
        shuffled: Run folder of the same recipe with shuffled labels.
        learned: Data set that the run was trained on, where it is another one.
    """

    name: str
    run: str
    title: str
    mapping: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    shuffled: str = ""
    learned: str = ""

    @property
    def trained(self) -> tuple[str, ...]:
        """Run folders that are trained for it, besides those of `benchmarks.results`."""
        return tuple(run for run in (self.run, self.shuffled) if run in TRAINED)

    def words(self, data: str, runs: str) -> list[str]:
        """The words of the `explain --score` command."""
        words = ["explain", f"{runs}/{self.run}", "--score", "--data", f"{data}/{DATA}"]
        for method in self.methods:
            words += ["--method", method]
        for pair in self.mapping:
            words += ["--map", pair]
        if self.shuffled:
            words += ["--shuffled", f"{runs}/{self.shuffled}"]
        if self.learned:
            words += ["--trained-on", f"{data}/{self.learned}"]
        return [*words, "--out", f"{runs}/explanations/{self.name}"]


STUDIES = (
    Study(
        "boxes",
        "boxes",
        "brain-mri-boxes-resnet50 with MobileNetV2, its own test images without copies",
        shuffled="boxes-shuffled",
    ),
    Study("boxes-fine", "boxes-fine", "The same recipe with a last map of 14 x 14 places, five epochs"),
    Study(
        "boxes-attend",
        "boxes-attend",
        'As the one before, with attend = "boxes"',
        shuffled="boxes-attend-shuffled",
    ),
    Study("boxes-slow", "boxes", "The first run by slow methods too", methods=SLOW),
    Study(
        "4class",
        "4class-short",
        "brain-mri-4class-efficientnet with EfficientNet-Lite0, four epochs, on the boxes set",
        FOUR,
        learned="brain-mri-4class",
    ),
    Study(
        "yesno",
        "yesno/repeat-1-fold-1",
        "brain-mri-yesno-resnet50 with EfficientNet-Lite0 (one fold), on the boxes set",
        ("Glioma=yes", "Meningioma=yes", "Pituitary=yes", "No Tumor=no"),
        learned="brain-mri-yesno",
    ),
)


def train_words(run: str, data: str, weights: str, out: str) -> list[str]:
    """The command that trains one of `TRAINED`."""
    job, values = TRAINED[run]
    words = RECIPES[job].command(data, weights, out)
    later = dict(value.split("=", 1) for value in values)
    for at, word in enumerate(words):
        key, _, _ = word.partition("=")
        if words[at - 1] == "--set" and key in later:
            words[at] = f"{key}={later.pop(key)}"
    for key, value in later.items():
        words += ["--set", f"{key}={value}"]
    return words
