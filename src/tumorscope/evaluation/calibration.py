"""Whether a probability of 0.9 means nine in ten.

In: validation logits, or a predictions table. Out: a temperature, reliability bins, and the calibration error
that a perfectly calibrated model would show at the same number of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.core.errors import DataError, UsageError
from tumorscope.core.types import Estimate, Logits, Probs, Targets
from tumorscope.evaluation.intervals import proportion, undefined
from tumorscope.evaluation.metrics import ECE_BINS, calibration_error, confidence_bins
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import Floats

TEMPERATURE_BOUNDS = (0.1, 10.0)
SIMULATIONS = 1000


def softmax(logits: Logits) -> Probs:
    """(n, C) probabilities of (n, C) finite logits.

    Raises:
        DataError: Logits that are not finite: the model diverged, and no probability describes that.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise DataError(
            f"logits of shape {scores.shape}, {int((~np.isfinite(scores)).sum())} of them not finite",
            expected="(n, C) finite numbers",
            fix="look at the training loss; lower the learning rate if it is NaN",
        )
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def negative_log_likelihood(logits: Logits, *, targets: Targets, temperature: float = 1.0) -> float:
    """Mean over images of minus the log of the probability of the right class, in nats."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    top = scaled.max(axis=1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
    return float((log_sum - scaled[np.arange(len(scaled)), targets]).mean())


def fit_temperature(logits: Logits, targets: Targets) -> float:
    """The temperature that makes validation logits most likely (Guo et al. 2017), within 0.1 to 10.

    The likelihood has one peak in the temperature, found by bounded search on its logarithm. At a bound the
    bound is returned, and `describe_temperature` says so: no temperature suits those logits (for instance all
    validation images are right, and any sharpening helps). Fit on validation, never on test.

    Raises:
        DataError: No images, targets that do not fit, or logits that are not finite.
    """
    from scipy.optimize import minimize_scalar

    classes = softmax(logits).shape[1]
    whole = np.asarray(targets)
    if not (len(whole) == len(logits) > 0) or whole.min() < 0 or whole.max() >= classes:
        raise DataError(
            f"{len(logits)} rows of logits for {classes} classes and {len(whole)} targets",
            expected="as many targets as rows, each a class position",
            fix="pass logits and targets of the same validation images",
        )

    def loss(temperature: float) -> float:
        return negative_log_likelihood(logits, targets=whole, temperature=temperature)

    found = minimize_scalar(
        lambda t: loss(math.exp(t)),
        bounds=tuple(math.log(bound) for bound in TEMPERATURE_BOUNDS),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return min((*TEMPERATURE_BOUNDS, math.exp(float(found.x))), key=loss)


@dataclass(frozen=True, slots=True)
class TemperatureAccount:
    """What a temperature did on the images it was fitted on.

    Attributes:
        temperature: Above 1 the model was too sure of itself.
        at_bound: True if the search ended at 0.1 or 10: treat the probabilities as not calibrated.
        nll_before: Mean negative log-likelihood at temperature 1, nats.
        nll_after: The same at this temperature.
        n: Number of images.
    """

    temperature: float
    at_bound: bool
    nll_before: float
    nll_after: float
    n: int


def describe_temperature(logits: Logits, *, targets: Targets, temperature: float) -> TemperatureAccount:
    """Account of `temperature` on these (validation) logits, for the run folder and the report."""
    before, after = (negative_log_likelihood(logits, targets=targets, temperature=t) for t in (1.0, temperature))
    return TemperatureAccount(temperature, temperature in TEMPERATURE_BOUNDS, before, after, len(targets))


def apply_temperature(logits: Logits, temperature: float) -> Probs:
    """(n, C) probabilities of logits divided by `temperature`; the order within a row does not change.

    Raises:
        UsageError: A temperature that is not a positive number.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(f"temperature {temperature}", expected="a positive number", fix="use 1 for none")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose largest probability lies in (low, high].

    Attributes:
        low: Lower edge of confidence.
        high: Upper edge.
        n: Images in the bin.
        confidence: Their mean confidence, None in an empty bin.
        accuracy: Share of them that are right.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: Estimate


def reliability_bins(table: Predictions) -> tuple[ReliabilityBin, ...]:
    """The 15 bins that the expected calibration error is summed over, with Wilson intervals."""
    confidence = table.probs.max(1)
    bins = confidence_bins(confidence)
    rows = []
    for i in range(ECE_BINS):
        chosen = bins == i
        n = int(chosen.sum())
        mean = float(confidence[chosen].mean()) if n else None
        right = proportion(table.correct[chosen], codes=table.codes[chosen]) if n else undefined("no images")
        rows.append(ReliabilityBin(i / ECE_BINS, (i + 1) / ECE_BINS, n, mean, right))
    return tuple(rows)


def ece_if_calibrated(confidence: Floats, *, seed: int, simulations: int = SIMULATIONS) -> Estimate:
    """Expected calibration error that a perfectly calibrated model shows with these confidences.

    Whether each image is right is drawn with its own confidence as the probability. The value is the mean
    over simulations, the bounds hold 95% of them; it falls with the number of images, never to zero.
    """
    rng = np.random.default_rng(seed)
    once = np.ones((1, confidence.size))
    draws: list[float] = []
    for _ in range(simulations):
        right: NDArray[np.bool_] = rng.random(confidence.size) < confidence
        draws.append(float(calibration_error(confidence, correct=right, counts=once)[0]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(np.mean(draws)), float(low), float(high), "simulation")
