"""Shapes of what goes out, for the OpenAPI description and its tests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(_Shape):
    """Why there is no answer."""

    code: str
    detail: str


class Problem(Fault):
    """Why a request was not served, and what to do."""

    expected: str | None
    fix: str | None


class Problems(_Shape):
    """Body of every status that is no success."""

    error: Problem


class Answered(_Shape):
    """What the model says of one file; `index` is its place in the request."""

    index: int
    predicted: str | None
    probs: dict[str, float] | None = Field(description="Calibrated, one a class; they sum to one.")
    set: list[str] | None = Field(description="Classes that cannot be ruled out.")
    abstained: str | None = Field(description="Why the model names no class although it could compute.")
    error: Fault | None
    thumbnail: str | None = Field(description="PNG as data URL, if asked for.")


class Prediction(_Shape):
    """Answers in the order of the files."""

    model: str
    research_use: str
    answers: list[Answered]


class Explanation(_Shape):
    """Heat on one picture: what moved the answer, not where a lesion is."""

    method: str
    target: str
    predicted: str
    prob: float
    likeness: float | None = Field(
        description="Rank correlation with the map of random weights; near 0 is good; null if a map is flat."
    )
    caution: str
    width: int
    height: int
    image: str = Field(description="PNG as data URL.")
    heat: str = Field(description="PNG as data URL, RGBA, of the same size.")


class Interval(_Shape):
    """A figure with its 95% interval."""

    value: float
    low: float | None
    high: float | None


class Figures(_Shape):
    """Figures on n images."""

    n: int
    metrics: dict[str, Interval]


class Results(Figures):
    """Figures on the test split."""

    without_copies: Figures | None = Field(
        description="On those without a copy in training or validation, if some have."
    )


class Input(_Shape):
    """What the network sees."""

    size_px: int
    channels: int


class Limits(_Shape):
    """What a request may hold."""

    body_mb: int
    megapixels: int
    min_side_px: int
    files: int


class About(_Shape):
    """The model."""

    title: str
    identity: str
    recipe: str
    classes: list[str]
    positive: str | None
    input: Input
    results: Results
    coverage: float | None
    gate: bool
    temperature: float
    licence: str
    card: str
    methods: list[str]
    version: str
    research_use: str
    limits: Limits


class Health(_Shape):
    """Sign of life."""

    status: str


def upload(field: str, *, many: bool, others: dict[str, str] | None = None) -> dict[str, Any]:
    """The request body of an upload, for OpenAPI."""
    file = {"type": "string", "format": "binary"}
    files = {"type": "array", "items": file, "minItems": 1, "maxItems": 32} if many else file
    properties: dict[str, Any] = {field: files}
    for name, words in (others or {}).items():
        properties[name] = {"type": "string", "description": words}
    schema = {"type": "object", "properties": properties, "required": [field], "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
