"""Recipes: everything that decides a training run, in one strict TOML file.

In: a shipped name or a path, and `--set key=value` overrides. Out: a frozen `Recipe`, or one error that lists every
mistake with the nearest known key. Values "auto" are resolved before the first batch and written out as
`recipe.resolved.toml`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tumorscope.core.errors import UsageError
from tumorscope.core.files import sha256_value
from tumorscope.data.splitting import Keep, Policy

Monitor = Literal["val_loss", "val_accuracy", "val_balanced_accuracy", "val_auroc", "val_macro_f1"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataPart(_Strict):
    """[data]: which classes are expected and how parts are made."""

    classes: list[str] | None = Field(None, description="class names that the data must have, in any order")
    positive: str | None = Field(None, description="class that sensitivity refers to, two classes only")
    val_fraction: float = Field(0.15, gt=0, lt=0.5, description="share of training that becomes validation")
    test_fraction: float = Field(0.2, gt=0, lt=0.9, description="share that becomes test where the data has none")
    policy: Policy = Field("official", description="how the test part comes about, see `tumorscope split --help`")
    keep: Keep = Field("test", description="what stays whole where twins are left out")


class ImagePart(_Strict):
    """[image]: from decoded pixels to the network's input."""

    size_px: int = Field(224, ge=16, le=2048)
    channels: Literal["auto", 1, 3] = Field("auto", description="auto: 1 if every image is gray")
    fit: Literal["squash", "pad", "crop"] = "squash"
    trim: bool = Field(False, description="cut the dark border away first")


class AugmentPart(_Strict):
    """[augment]: random changes of training images; see `tumorscope.imaging.augment.AugmentSpec`."""

    flip_horizontal: float = Field(0.0, ge=0, le=1)
    flip_vertical: float = Field(0.0, ge=0, le=1)
    rotate_deg: float = Field(0.0, ge=0, le=180)
    translate: float = Field(0.0, ge=0, le=0.5)
    scale: list[float] = Field([1.0, 1.0], min_length=2, max_length=2)
    brightness: float = Field(0.0, ge=0, le=0.9)
    contrast: float = Field(0.0, ge=0, le=0.9)
    erase: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> AugmentPart:
        low, high = self.scale
        if not 0.2 <= low <= high <= 5:
            raise ValueError(f"scale must be [low, high] with 0.2 <= low <= high <= 5, found {self.scale}")
        return self


class ModelPart(_Strict):
    """[model]: network, weights, normalisation."""

    name: str
    weights: str = Field("none", description='"none", "imagenet", or the path of a .safetensors file')
    dropout: float = Field(0.0, ge=0, lt=1)
    mean: list[float] | None = Field(None, description="input mean, one value or one a channel; own by default")
    std: list[float] | None = None
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class EarlyStop(_Strict):
    """[train.early_stop]: stop a stage that no longer improves."""

    patience: int = Field(10, ge=1)
    min_delta: float = Field(0.0, ge=0)
    monitor: Monitor = "val_loss"


class TrainPart(_Strict):
    """[train]: what all stages share."""

    seed: int = Field(0, ge=0)
    batch_size: int = Field(32, ge=2)
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    pos_weight: Literal["none", "auto"] | float = Field("none", description="bce: weight of the positive class")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="threads of one operation; auto: all, or one where steps are short"
    )
    compile: Literal["auto"] | bool = Field(
        "auto", description="compile the network for stages that train all of it; auto: where a long run earns it back"
    )
    clip_norm: float | None = Field(None, gt=0)
    monitor: Monitor | Literal["last"] = Field(
        "val_loss", description="chooses the epoch that is kept; last: none is chosen, as many published systems do"
    )
    control: Literal["none", "permuted-labels"] = Field(
        "none", description="permuted-labels: shuffle the labels of training and validation; must land at chance"
    )
    attend: Literal["none", "boxes"] = Field(
        "none", description="boxes: keep the evidence for the true class inside the annotated boxes while training"
    )
    attend_weight: float = Field(1.0, gt=0, description="factor of the cost, -log of the share of evidence inside")
    lesion_free: list[str] = Field(
        [], description="attend: classes whose boxes surround no lesion, besides those named no, normal, healthy, none"
    )
    early_stop: EarlyStop | None = None

    @model_validator(mode="after")
    def _fits(self) -> TrainPart:
        if self.pos_weight != "none" and self.loss != "bce":
            raise ValueError('pos_weight needs loss = "bce"')
        if self.loss == "bce" and (self.class_weights != "none" or self.label_smoothing):
            raise ValueError('class_weights and label_smoothing need loss = "cross_entropy"; bce takes pos_weight')
        if self.attend != "none" and self.compile is True:
            raise ValueError("attend cannot watch the layers of a compiled network; leave compile out")
        return self


class Stage(_Strict):
    """[stage.NAME]: one pass with its own freeze plan, optimizer and schedule; stages run in file order."""

    epochs: int = Field(ge=1)
    trainable: str = Field("all", pattern=r"^(all|head|last:[1-9]\d*)$")
    optimizer: Literal["adam", "adamw", "adamax", "rmsprop", "sgd"] = "adam"
    lr: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd and rmsprop")
    schedule: Literal["none", "step", "plateau", "cosine", "one_cycle"] = "none"
    step_size: int = Field(5, ge=1, description="step: epochs between changes")
    gamma: float = Field(0.5, gt=0, lt=1, description="step and plateau: factor")
    plateau_patience: int = Field(3, ge=0, description="plateau: epochs without improvement")
    views: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto",
        description="plain and augmented views of each image that a frozen part is run on, once for all epochs; 0 runs "
        "it anew every epoch; auto: 1 for head, 4 for last:N",
    )

    @property
    def kept_views(self) -> int:
        """`views` decided: no more than epochs, none where nothing is frozen."""
        if self.trainable == "all":
            return 0
        wanted = (1 if self.trainable == "head" else 4) if self.views == "auto" else self.views
        return min(wanted, self.epochs)


class SweepRange(_Strict):
    """A range of numbers to search; whole numbers where both ends are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> SweepRange:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("a range needs low < high, and low > 0 where log = true")
        return self


Scalar = str | bool | int | float


class Sweep(_Strict):
    """[sweep]: what `tumorscope sweep` searches; one training run ignores it."""

    sampler: Literal["grid", "random", "tpe"] = Field(
        "grid", description="grid: every point; random; tpe: points that resemble the good ones so far"
    )
    folds: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="folds of training and validation images that score a point, 1: the recipe's own validation part; "
        "auto: 3 below 5,000 images, else 1",
    )
    metric: Monitor = Field("val_auroc", description="figure that chooses the best point")
    trials: int | None = Field(None, ge=1, description="points to try; a grid has its own number")
    minutes: float | None = Field(None, gt=0, description="no point is begun after this time")
    prune: bool = Field(False, description="leave a point after a fold where it is below the median of the others")
    fixed: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict, description='recipe keys that all points share, such as `"stage.all.epochs" = 25`'
    )
    space: dict[str, list[Scalar] | SweepRange] = Field(
        min_length=1,
        description='recipe keys and what to try: `"stage.all.lr" = [1e-3, 1e-4]`, or '
        "`{ low = 1e-5, high = 1e-2, log = true }`",
    )

    @model_validator(mode="after")
    def _fits(self) -> Sweep:
        both = sorted(set(self.fixed) & set(self.space))
        if both:
            raise ValueError(f"{both[0]!r} stands under fixed and under space")
        for key, values in self.space.items():
            if isinstance(values, list) and (not values or len({repr(v) for v in values}) < len(values)):
                raise ValueError(f"{key!r} needs at least one value, and each one once")
        return self


class Recipe(_Strict):
    """One training run, decided in full."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    reproduces: str = ""
    data: DataPart = Field(default_factory=lambda: DataPart.model_validate({}))
    image: ImagePart = Field(default_factory=lambda: ImagePart.model_validate({}))
    augment: AugmentPart = Field(default_factory=lambda: AugmentPart.model_validate({}))
    model: ModelPart
    train: TrainPart = Field(default_factory=lambda: TrainPart.model_validate({}))
    stage: dict[str, Stage] = Field(min_length=1)
    sweep: Sweep | None = None

    @property
    def sha256(self) -> str:
        """Hash of every value that decides a run, defaults included; title and origin are text, a sweep is apart."""
        return sha256_value([self.model_dump(exclude={"title", "reproduces", "sweep"}), list(self.stage)])


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package, sorted."""
    folder = resources.files("tumorscope") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def recipe_text(name_or_path: str) -> str:
    """TOML text of a shipped recipe or of a file.

    Raises:
        UsageError: If there is neither; the nearest shipped name is given.
    """
    if name_or_path in shipped_recipes():
        return (resources.files("tumorscope") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
    path = Path(name_or_path).expanduser()
    if path.is_file():
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"the recipe is not UTF-8 text: {error.reason}", where=path, fix="save it as UTF-8"
            ) from error
    close = difflib.get_close_matches(name_or_path, shipped_recipes(), n=1, cutoff=0.4)
    raise UsageError(
        f"no recipe is called {name_or_path!r}, and there is no such file",
        expected=f"one of {', '.join(shipped_recipes())}, or a .toml file",
        where="RECIPE",
        fix=f"did you mean {close[0]}?" if close else "see `tumorscope recipes list`",
    )


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name_or_path: Shipped name or `.toml` file.
        overrides: `key.sub=value` strings; values are TOML, bare words are strings.

    Raises:
        UsageError: With every mistake at once.
    """
    try:
        raw = tomllib.loads(recipe_text(name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not valid TOML: {error}", where=name_or_path, fix="correct the line named") from error
    for override in overrides:
        key, value = read_override(override, where="--set")
        _assign(raw, key, value, where="--set")
    return parse_recipe(raw, where=name_or_path)


def parse_recipe(raw: dict[str, Any], *, where: str) -> Recipe:
    """`raw` as a checked recipe; raises UsageError with every mistake at once."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        lines = [_humanise(dict(problem)) for problem in error.errors()]
        raise UsageError(
            f"{len(lines)} mistake{'s' if len(lines) > 1 else ''} in the recipe:\n  - " + "\n  - ".join(lines),
            where=where,
            fix="`tumorscope recipes check FILE` shows all mistakes; `tumorscope recipes show demo` is an example",
        ) from error


def with_values(recipe: Recipe, values: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe with some keys (`stage.all.lr`) set, checked as a whole; its sweep is left out.

    Raises:
        UsageError: With every mistake at once.
    """
    raw = recipe.model_dump(exclude={"sweep"})
    for key, value in values.items():
        _assign(raw, key, value, where=where)
    return parse_recipe(raw, where=where)


def read_override(override: str, *, where: str) -> tuple[str, Any]:
    """Key and value of `KEY=VALUE`; the value is TOML, a bare word is a string."""
    key, separator, text = override.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise UsageError(
            f"cannot read the override {override!r}",
            expected="KEY=VALUE, such as train.seed=3",
            where=where,
            fix="write it so",
        )
    try:
        return key.strip(), tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def _assign(raw: dict[str, Any], key: str, value: Any, *, where: str) -> None:
    """Put a value at a dotted key; tables that are not there, or are left out, are made."""
    parts = key.split(".")
    table = raw
    for part in parts[:-1]:
        if table.get(part) is None:
            table[part] = {}
        table = table[part]
        if not isinstance(table, dict):
            raise UsageError(f"{part!r} in {key!r} is no table", where=where, fix="check the key")
    table[parts[-1]] = value


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys allowed at the table that holds the last element of `location`."""
    model: Any = Recipe
    for part in location[:-1]:
        if model is Recipe and part == "stage":
            model = dict
        elif model is dict:
            model = Stage
        else:
            annotation = model.model_fields[part].annotation if hasattr(model, "model_fields") else None
            candidates = [a for a in getattr(annotation, "__args__", (annotation,)) if hasattr(a, "model_fields")]
            model = candidates[0] if candidates else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _humanise(problem: dict[str, Any]) -> str:
    branches = ("literal[", "list[", "float", "str", "SweepRange")
    location = tuple(part for part in problem["loc"] if not str(part).startswith(branches))
    name = ".".join(map(str, location))
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location)
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return f"{name}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{name}: required, not given"
    return f"{name}: {problem['msg'].lower().removeprefix('value error, ')}, found {problem['input']!r}"


def to_toml(recipe: Recipe) -> str:
    """The recipe with every default written out, as TOML that `load_recipe` reads back to an equal value."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(exclude_none=True))
