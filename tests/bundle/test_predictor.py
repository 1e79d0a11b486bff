from __future__ import annotations

import numpy as np
import pytest

from tests.bundle.bundles import mixed
from tests.scans import scan
from tumorscope.bundle.backends import BACKENDS, TOLERANCE
from tumorscope.bundle.bundle import Bundle
from tumorscope.bundle.network import run_network
from tumorscope.bundle.predictor import Predictor
from tumorscope.core.errors import UsageError


def test_the_default_is_training_s_own_way_to_the_last_bit(gray: Bundle) -> None:
    predictor = Predictor.load(gray.folder)
    images = mixed(gray, n=70)
    direct = run_network(gray.model.module, images, normalisation=gray.card.normalisation, classes=2, positive=0)
    assert (predictor.logits(images) == direct).all()
    assert (predictor.backend.name, predictor.reason) == ("torch", "asked for")
    assert predictor.card == gray.card


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_every_backend_predicts_the_same(gray: Bundle, backend: str) -> None:
    predictor = Predictor.load(gray.folder, backend=backend, batch=2)
    rng = np.random.default_rng(0)
    pictures = [np.asarray(scan("left", rng, 40 + i)) for i in range(5)]
    found = np.stack(list(predictor.predict(pictures, batch_size=2)))
    expected = np.stack(list(Predictor.load(gray.folder).predict(pictures)))
    assert found.shape == (5, 2)
    assert np.abs(found - expected).max() <= (TOLERANCE if backend == "auto" else BACKENDS[backend].tolerance)
    assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE
    assert predictor.reason


def test_an_unknown_backend_is_refused(gray: Bundle) -> None:
    with pytest.raises(UsageError, match="no backend is called 'cuda'"):
        Predictor.load(gray.folder, backend="cuda")
