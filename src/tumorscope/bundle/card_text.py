"""The model card for people: Markdown with the front matter that the Hugging Face hub reads.

In: a card. Out: the text of `README.md`; every figure in it stands in the card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tumorscope.bundle.card import Card
from tumorscope.bundle.timm_config import in_timm

HUB_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1",
    "mcc": "matthews_correlation",
    "auroc": "roc_auc",
    "brier": "brier_score",
}
"""Our names of metrics, and the hub's."""
HUB_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")


def card_text(card: Card) -> str:
    """The content of `README.md`."""
    parts = [
        _front_matter(card),
        f"# {_plain(card.title)}",
        "**Research use only; not for clinical decisions.**",
        _use(card),
        _classes(card),
        _data(card),
        _results(card),
        _limits(card),
        _loading(card),
        "## Hashes\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in sorted(card.hashes.items())),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain(text: object) -> str:
    """One line without control characters and Markdown's table and HTML marks."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;").strip()


def _front_matter(card: Card) -> str:
    """YAML; texts are written as JSON strings, which YAML reads alike."""
    licence = card.licence.lower()
    lines = [f"license: {licence}"] if licence in HUB_LICENCES else ["license: other"]
    if licence not in HUB_LICENCES:
        lines.append(f"license_name: {json.dumps(re.sub(r'[^a-z0-9.-]+', '-', licence).strip('-') or 'unknown')}")
    lines += [
        f"library_name: {'timm' if in_timm(card) else 'tumorscope'}",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in ("image-classification", "medical", "tumorscope", "research-use-only")),
        *(["- timm"] if in_timm(card) else []),
    ]
    found = {
        name: one["value"]
        for name, one in card.metrics.get("test", {}).items()
        if name in HUB_METRICS and one.get("value") is not None
    }
    if found:
        data = json.dumps((card.about or {}).get("name") or "see the card")
        lines += ["metrics:", *(f"- {HUB_METRICS[name]}" for name in found), "model-index:"]
        lines += [f"- name: {json.dumps(card.recipe)}", "  results:", "  - task:", "      type: image-classification"]
        lines += ["    dataset:", f"      name: {data}", f"      type: {data}", "      split: test", "    metrics:"]
        for name, value in found.items():
            lines += [
                f"    - type: {HUB_METRICS[name]}",
                f"      name: {json.dumps(name)}",
                f"      value: {value:.4f}",
            ]
    return "\n".join(["---", *lines, "---"])


def _use(card: Card) -> str:
    shape = card.preprocessing
    about = card.about or {}
    what = f" of {_plain(about['modality'])} images" if about.get("modality") else ""
    return (
        "## Intended use\n\n"
        f"Research on, and teaching of, the classification{what} into {len(card.classes)} classes, on images like "
        "those it was trained on. It is no medical device and was not validated for any clinical use.\n\n"
        f"Architecture `{card.architecture['name']}`, input {shape.size_px} px, {shape.channels} channel(s), recipe "
        f"`{card.recipe}`, licence of the architecture {card.licence}."
    )


def _classes(card: Card) -> str:
    names = "\n".join(f"{i}. {_plain(name)}" for i, name in enumerate(card.classes))
    positive = f"\n\nPositive class: **{_plain(card.positive)}**." if card.positive else ""
    return f"## Classes (in target order)\n\n{names}{positive}"


def _data(card: Card) -> str:
    about = card.about
    if about is None:
        return ""
    name = _plain(about["title"] or about["name"] or "Not named")
    licence = f"licence as stated: {_plain(about['licence'])}"
    cited = " ".join(_plain(about[key]) for key in ("citation", "homepage") if about[key])
    counts: Mapping[str, Mapping[str, int]] = about["counts"]
    rows = [
        f"| {part} | {sum(own.values()):,} | " + " | ".join(f"{n:,}" for n in own.values()) + " |"
        for part, own in counts.items()
    ]
    header = " | ".join(map(_plain, card.classes))
    copies = about["test_images_sharing"]
    said = "; ".join(f"{n:,} test images have a {kind} in training or validation" for kind, n in copies.items())
    return (
        f"## Data\n\n{name}; {licence}. {cited}\n\n"
        f"| part | images | {header} |\n|---|---|{'---|' * len(card.classes)}\n" + "\n".join(rows) + "\n\n"
        f"Split: {_plain(about['policy'])}. {_plain(about['note'])}\n\n"
        f"Copies, found by file, pixels and picture: {said or 'no test image has one in training or validation'}."
    )


def _rows(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, one in metrics.items():
        if one.get("value") is not None:
            span = f" {one['low']:.3f} to {one['high']:.3f}" if one.get("low") is not None else ""
            rows.append(f"| {name} | {one['value']:.3f} |{span} |")
    return "| metric | value | 95% interval |\n|---|---|---|\n" + "\n".join(rows)


def _results(card: Card) -> str:
    if not card.metrics.get("test"):
        return ""
    text = f"## Results on the test split (n = {card.metrics['n']:,})\n\n{_rows(card.metrics['test'])}"
    if clean := card.metrics.get("without_copies"):
        text += (
            f"\n\nOn the {clean['n']:,} test images without a copy in training or validation:\n\n{_rows(clean['test'])}"
        )
    scale = f"softmax(logits / {card.temperature:.4g})"
    return f"{text}\n\nProbabilities are {scale}; the temperature was fitted on validation."


def _limits(card: Card) -> str:
    lines = [
        "One data set, its scanners and its mix of classes: elsewhere it may be wrong more often, and probabilities "
        "mean less.",
        "A probability is no chance that a patient has a tumor.",
    ]
    if card.gate is None:
        lines.append(
            "It answers one of its classes for any picture, also for one that is no scan: there is no input gate."
        )
    else:
        lines.append(
            "Its input gate refuses pictures unlike the training images: set to refuse at most "
            f"{card.gate['share']:.0%} of new scans of each class, on {card.gate['calibration_images']:,} images. "
            "The gate is part of tumorscope; loaded by other libraries the model answers for any picture. A picture "
            "that passes is not thereby a scan."
        )
    if (sets := card.prediction_sets) is not None:
        lines.append(
            f"Prediction sets are to hold the class of {sets['coverage']:.0%} of new images of each class; where a set "
            "is empty, full, or without the most probable class, tumorscope names no class."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _loading(card: Card) -> str:
    text = (
        "## How to load\n\nWith tumorscope, which checks every hash and runs the probe first:\n\n"
        "```\ntumorscope predict BUNDLE scans/\n```"
    )
    shape = card.preprocessing
    if not in_timm(card):
        return (
            f"{text}\n\n`{card.architecture['name']}` is tumorscope's own network: timm does not have it, so there is "
            "no `config.json`. For other programs: `tumorscope export BUNDLE --out onnx`."
        )
    outputs = int(card.architecture["outputs"])
    meaning = (
        "Logits are in the order of the classes above."
        if outputs == len(card.classes)
        else "It has one output (`num_classes` 1): the sigmoid of it, divided by the temperature, is the probability "
        f"of {_plain(card.positive)}."
    )
    prepared = {"squash": "stretched to the square", "pad": "padded with black", "crop": "cut to the middle square"}[
        shape.fit
    ]
    trim = " after cutting away the dark border, which timm's transforms do not do" if shape.trim else ""
    gray = "gray, one channel (`in_chans` 1)" if shape.channels == 1 else "RGB"
    return (
        f"{text}\n\nWith timm alone, without gate, temperature and checks:\n\n```python\nimport timm\n\n"
        'model = timm.create_model("local-dir:BUNDLE", pretrained=True).eval()\n```\n\n'
        f"{meaning} Input: {gray}, {prepared}{trim}, {shape.size_px} px, scaled to 0..1, mean "
        f"{list(card.normalisation.mean)}, deviation {list(card.normalisation.std)}."
    )
