"""What a model must beat: always answering the most frequent class, and answering from brightness alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from tumorscope.core.errors import DataError
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.paired import Paired, compare_correct
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import Floats

MAX_ITERATIONS = 2000


def majority_class(train_counts: Mapping[str, int], *, classes: Sequence[str]) -> str:
    """The class with most training images; of equals the first in `classes`.

    Raises:
        DataError: Unknown classes, negative counts, or no training image at all.
    """
    unknown = sorted(set(train_counts) - set(classes))
    if unknown or min(train_counts.values(), default=0) < 0 or sum(train_counts.values()) == 0:
        raise DataError(
            f"training counts {dict(train_counts)}",
            expected=f"a number of images for classes among {list(classes)}, not all zero",
            fix="count the labels of the training split",
        )
    return max(classes, key=lambda name: train_counts.get(name, 0))


def histogram_baseline(
    train_hist: Floats, *, train_targets: Targets, test_hist: Floats, classes: Sequence[str]
) -> Probs:
    """(m, C) probabilities of test images from their intensity histograms alone.

    Features are standardised on the training images; the classifier is a logistic regression (scikit-learn,
    L2, C = 1). A model that does not beat it may only have learnt brightness, contrast or borders. A class
    without training images gets probability zero.

    Args:
        train_hist: (n, bins) histogram of each training image, any scale.
        train_targets: (n,) class positions.
        test_hist: (m, bins).
        classes: C class names.

    Raises:
        DataError: Shapes that do not fit, values that are not finite, one class only, or no convergence.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = np.asarray(train_hist, dtype=np.float64), np.asarray(test_hist, dtype=np.float64)
    present = np.unique(train_targets)
    fits = train.ndim == test.ndim == 2 and train.shape[1] == test.shape[1]
    if not fits or len(train) != len(train_targets) or not np.isfinite(train).all():
        raise DataError(
            f"training histograms {train.shape}, targets {np.shape(train_targets)}, test {test.shape}",
            expected="(n, bins) finite, (n,) and (m, bins)",
            fix="make both histograms with the same bins",
        )
    if present.size < 2 or present[0] < 0 or present[-1] >= len(classes) or not np.isfinite(test).all():
        raise DataError(
            f"training targets {present.tolist()} for {len(classes)} classes",
            expected="two or more classes, and finite test histograms",
            fix="give the labels and histograms of the whole training split",
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(train, train_targets)
        except ConvergenceWarning as error:
            raise DataError(
                f"the histogram baseline did not converge in {MAX_ITERATIONS} iterations",
                fix="use fewer bins",
            ) from error
    probs = np.zeros((len(test), len(classes)))
    probs[:, present] = model.predict_proba(test)
    return probs


def beats(model: Predictions, *, baseline: Targets, bootstrap: int = 2000, seed: int = 0) -> Paired:
    """Whether the model is more often right than the baseline, on the same images.

    Args:
        model: n predictions.
        baseline: (n,) class positions that the baseline answers, in the order of `model`.
        bootstrap: Resamples for the interval of the difference.
        seed: Same seed, same interval.

    Raises:
        DataError: Another number of answers than images.
    """
    if np.shape(baseline) != (len(model),):
        raise DataError(f"{np.shape(baseline)} baseline answers", expected=f"({len(model)},), one for each image")
    right = np.asarray(baseline == model.targets)
    return compare_correct(model.correct, second=right, codes=model.codes, bootstrap=bootstrap, seed=seed)
