"""An execution plan as one word on the command line: `bf16,channels_last,2,compiled`."""

from __future__ import annotations

from tumorscope.core.errors import UsageError

WORDS = {
    "fp32": "train.precision=fp32",
    "bf16": "train.precision=bf16",
    "contiguous": "train.memory_format=contiguous",
    "channels_last": "train.memory_format=channels_last",
    "plain": "train.compile=false",
    "compiled": "train.compile=true",
}


def spelled(precision: str, memory_format: str, threads: int, compiled: bool) -> str:
    """The plan as `--plan` takes it."""
    return f"{precision},{memory_format},{threads},{'compiled' if compiled else 'plain'}"


def plan_overrides(text: str) -> list[str]:
    """Recipe overrides that fix what `text` names; what it leaves out stays measured.

    Raises:
        UsageError: For a word that is none of `WORDS` and no number of threads, or two for one choice.
    """
    overrides: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        override = f"train.threads={word}" if word.isdigit() and int(word) else WORDS.get(word)
        if override is None:
            raise UsageError(
                f"unknown word {word!r} in the plan {text!r}",
                expected=f"some of {', '.join(WORDS)} and a number of threads, separated by commas",
                where="--plan",
                fix="such as --plan bf16,channels_last",
            )
        if any(override.split("=")[0] == other.split("=")[0] for other in overrides):
            raise UsageError(
                f"the plan {text!r} makes one choice twice", expected="each once", where="--plan", fix="leave one out"
            )
        overrides.append(override)
    return overrides
