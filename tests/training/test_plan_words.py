"""`--plan` on the command line."""

from __future__ import annotations

import pytest

from tumorscope.core.errors import UsageError
from tumorscope.training.plan import Wishes
from tumorscope.training.plan_words import plan_overrides, spelled
from tumorscope.training.recipe import load_recipe
from tumorscope.training.resolve import wishes_of


def test_what_is_spelled_is_read_back() -> None:
    recipe = load_recipe("demo", plan_overrides(spelled("bf16", "channels_last", 3, True)))
    wishes = wishes_of(recipe)
    assert wishes == Wishes("bf16", "channels_last", 3, True)
    assert wishes.settled


def test_what_is_left_out_stays_measured() -> None:
    wishes = wishes_of(load_recipe("demo", plan_overrides("plain, fp32")))
    assert wishes == Wishes("fp32", "auto", "auto", False)
    assert not wishes.settled


@pytest.mark.parametrize("text", ["fp16", "", "bf16,", "0", "-2", "bf16,fp32", "2,3"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_overrides(text)
    assert caught.value.where == "--plan"
