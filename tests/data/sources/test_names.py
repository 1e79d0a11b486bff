from __future__ import annotations

import pytest

from tumorscope.data.sources.names import class_order, guess_positive, name_key, split_of


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("no", "yes"), "yes"),
        (("benign", "malignant"), "malignant"),
        (("benign", "normal"), None),
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA"),
        (("glioma", "no_tumor"), "glioma"),
        (("Healthy", "Brain Tumor"), "Brain Tumor"),
        (("tumor", "lesion"), None),
        (("0", "1"), None),
        (("cats", "dogs"), None),
        (("no", "perhaps", "yes"), None),
        (("yes",), None),
    ],
)
def test_positive_by_name(classes: tuple[str, ...], positive: str | None) -> None:
    assert guess_positive(classes) == positive
    assert guess_positive(classes[::-1]) == positive


def test_split_names() -> None:
    assert [split_of(n) for n in ("Training", "VALID", "test-set", "eval", "train2", "glioma")] == [
        "train",
        "val",
        "test",
        "val",
        None,
        None,
    ]


def test_keys_and_order() -> None:
    assert name_key("No_Tumor") == name_key(" no  tumor ") == name_key("NO-TUMOR")
    assert name_key("notumor") != name_key("no tumor")
    assert class_order(["b", "A", "a", "C"]) == ("A", "a", "b", "C")
