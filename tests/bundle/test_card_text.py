"""The model card: front matter the hub reads, figures from the card alone, nothing that acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.bundle.bundles import COLOUR, GRAY, save
from tumorscope.bundle.bundle import Card, load_bundle
from tumorscope.bundle.card_text import card_text

METRICS: dict[str, Any] = {
    "n": 156,
    "test": {
        "accuracy": {"value": 0.859, "low": 0.795, "high": 0.905},
        "auroc": {"value": 0.9, "low": None, "high": None},
        "ece": {"value": None, "low": None, "high": None},
    },
    "without_copies": {"n": 103, "test": {"accuracy": {"value": 0.84, "low": 0.76, "high": 0.9}}},
}
ABOUT: dict[str, Any] = {
    "name": "breastmnist",
    "title": "BreastMNIST",
    "licence": "CC BY 4.0",
    "citation": "Yang et al. 2023",
    "homepage": "",
    "modality": "breast ultrasound",
    "counts": {"train": {"malignant": 147, "normal, benign": 399}, "test": {"malignant": 42, "normal, benign": 114}},
    "policy": "official",
    "note": "",
    "test_images_sharing": {"copy": 45, "likely patient": 9},
}


def front_matter(text: str) -> dict[str, Any]:
    return vars(ModelCard(text).data)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_bundle(save(tmp_path_factory.mktemp("card") / "bundle", GRAY)).card


def test_the_hub_reads_the_front_matter(plain: Card) -> None:
    data = front_matter(card_text(replace(plain, metrics=METRICS, about=ABOUT)))
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "tumorscope"
    assert data["pipeline_tag"] == "image-classification"
    assert data["metrics"] == ["accuracy", "roc_auc"]
    assert "research-use-only" in data["tags"]
    results = {one.metric_type: one.metric_value for one in data["eval_results"]}
    assert results == {"accuracy": 0.859, "roc_auc": 0.9}


def test_a_timm_network_says_so(colour: Any) -> None:
    data = front_matter(card_text(colour.card))
    assert data["library_name"] == "timm"
    assert 'timm.create_model("local-dir:BUNDLE", pretrained=True)' in card_text(colour.card)
    assert COLOUR["name"] in card_text(colour.card)


def test_an_unknown_licence_is_named(plain: Card) -> None:
    data = front_matter(card_text(replace(plain, licence="See the model's page: x")))
    assert data["license"] == "other"
    assert data["license_name"] == "see-the-model-s-page-x"


def test_data_results_and_copies_are_told(plain: Card) -> None:
    text = card_text(replace(plain, metrics=METRICS, about=ABOUT))
    assert "| train | 546 | 147 | 399 |" in text
    assert "45 test images have a copy in training or validation" in text
    assert "Results on the test split (n = 156)" in text
    assert "| accuracy | 0.859 | 0.795 to 0.905 |" in text
    assert "| auroc | 0.900 | |" in text
    assert "| ece" not in text
    assert "On the 103 test images without a copy" in text
    assert "`data`" not in text.split("## Hashes")[0]
    assert "## Results" not in card_text(plain)
    assert "## Data" not in card_text(plain)


def test_names_cannot_leave_their_line(plain: Card) -> None:
    nasty = "a | b <script>\n# heading"
    classes = (nasty, "other")
    text = card_text(replace(plain, classes=classes, positive=nasty, about={**ABOUT, "title": nasty, "name": nasty}))
    assert "<script>" not in text
    assert "\n# heading" not in text
    with_results = replace(plain, recipe="x: y", metrics=METRICS, about={**ABOUT, "name": 'a "quoted": name'})
    results = front_matter(card_text(with_results))["eval_results"]
    assert {one.dataset_name for one in results} == {'a "quoted": name'}


def test_one_output_is_explained(plain: Card) -> None:
    architecture = {**plain.architecture, "name": "test_resnet"}
    text = card_text(replace(plain, architecture=architecture))
    assert "one output (`num_classes` 1)" in text
    assert "probability of malignant" in text
