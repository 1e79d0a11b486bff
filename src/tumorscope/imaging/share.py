"""One process's share of what several processes work through together, such as the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Share `number` of `of` shares that follow one another and leave nothing out.

    Attributes:
        number: From 0.
        of: Number of shares.
    """

    number: int = 0
    of: int = 1

    def part(self, n: int) -> slice:
        """Which of `n` things are this share's; sizes differ by one at most, and a share may be empty."""
        return slice(n * self.number // self.of, n * (self.number + 1) // self.of)
