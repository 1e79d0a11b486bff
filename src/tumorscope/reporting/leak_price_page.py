"""A leak price made readable: `leak-price.html`, one self-contained page beside `leak-price.json`.

In: the folder that `tumorscope leak-price` wrote. Out: arms with their accuracies, gaps with their intervals, links
to the reports of the runs. No request, no script, the same bytes for the same file.
"""

from __future__ import annotations

import math
from pathlib import Path

from tumorscope.core.errors import DataError
from tumorscope.core.files import write_text
from tumorscope.reporting.contract import LeakPriceFile, checked
from tumorscope.reporting.load import parsed
from tumorscope.reporting.render import environment
from tumorscope.reporting.summary import address

DATA_NAME = "leak-price.json"
PAGE_NAME = "leak-price.html"


def render_leak_price(folder: Path) -> Path:
    """Write `leak-price.html` into the folder of a leak price and return its path.

    Raises:
        DataError: If `leak-price.json` is missing or damaged.
    """
    path = folder / DATA_NAME
    if not path.is_file():
        raise DataError(
            f"{DATA_NAME} is missing",
            expected="a folder written by `tumorscope leak-price`",
            where=folder,
            fix="finish it with `tumorscope leak-price ... --resume`",
        )
    price = checked(LeakPriceFile, parsed(path), where=path)
    runs = {
        arm.arm: [
            (run.parent.name, address(folder, f"{arm.arm}/{run.parent.name}"))
            for run in sorted(folder.glob(f"{arm.arm}/seed-*/run.json"))
        ]
        for arm in price.arms
    }
    ends = [abs(end) for gap in price.gaps for end in (gap.low, gap.high) if end is not None]
    template = environment().get_template("leak-price.html.j2")
    widest = min(1.0, math.ceil(20 * max(ends, default=0.1) + 0.1) / 20)
    page = template.render(price=price, runs=runs, widest=widest)
    return write_text(folder / PAGE_NAME, page)
