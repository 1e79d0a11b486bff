from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.reporting import words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.8654, "86.5%"),
        (1.0, "100.0%"),
        (0.0, "0.0%"),
        (0.9996, "99.96%"),
        (1310 / 1311, "99.9%"),
        (0.00004, "0.004%"),
        (None, "undefined"),
    ],
)
def test_percent_never_rounds_up_to_perfect(value: float | None, expected: str) -> None:
    assert words.percent(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9012, "0.901"),
        (0.99999, "0.99999"),
        (-0.1, "−0.100"),
        (-0.0, "0.000"),
        (1.0, "1.000"),
        (None, "undefined"),
    ],
)
def test_decimal_never_rounds_up_to_perfect(value: float | None, expected: str) -> None:
    assert words.decimal(value) == expected


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_only_a_perfect_share_reads_as_perfect(counts: tuple[int, int]) -> None:
    right, n = counts
    assert (words.percent(right / n) == "100.0%") == (right == n)
    assert (words.percent(right / n) == "0.0%") == (right == 0)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.99999, "> 99.9%"), (1.0, "100.0%"), (0.0001, "< 0.1%"), (0.5, "50.0%")]
)
def test_probability_claims_no_certainty_it_does_not_have(value: float, expected: str) -> None:
    assert words.probability(value) == expected


def test_ranges_are_spelled_like_their_metric() -> None:
    assert words.metric_range("accuracy", 0.803, 0.91) == "80.3 to 91.0%"
    assert words.metric_range("auroc", 0.85, 0.95) == "0.850 to 0.950"
    assert words.metric_range("mcc", -0.1, 0.2) == "−0.100 to 0.200"
    assert words.metric_range("auroc", None, 0.95) == "no interval"


def test_points_carry_their_sign() -> None:
    assert [words.points(v) for v in (0.134, -0.02, 0.0, None)] == ["+13.4", "−2.0", "0.0", "undefined"]


def test_lists_are_shortened_only_where_it_saves_a_line() -> None:
    assert words.shortened("abcd", 3) == ("abcd", 0)
    assert words.shortened("abcde", 3) == ("abc", 2)


def test_sentences() -> None:
    assert words.listed(["a"]) == "a"
    assert words.listed(words.quoted(["a", "b, c", "d"])) == "“a”, “b, c” and “d”"
    assert words.plural(1, "image") == "1 image"
    assert words.plural(1311, "image") == "1,311 images"
    assert words.plural(2, "box", "boxes") == "2 boxes"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain", "plain"),
        ("naïve 影", "naïve 影"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("bytes\udcff", "bytes\\xff"),
        ("half\ud800", "half\\ud800"),
        ("nul\x00", "nul\\x00"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
    ],
)
def test_hidden_characters_become_visible(raw: str, expected: str) -> None:
    assert words.shown(raw) == expected


@given(st.text())
def test_shown_text_can_always_be_written(text: str) -> None:
    assert words.shown(text).encode("utf-8").decode("utf-8") == words.shown(text)
    assert words.shown(words.shown(text)) == words.shown(text)
