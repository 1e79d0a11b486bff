"""`tumorscope claim`: what arithmetic says about a published figure."""

from __future__ import annotations

from typing import Annotated

import typer

from tumorscope.cli.common import Json, say_json


def claim(
    n: Annotated[int, typer.Option(help="Images it was measured on; for sensitivity those of the class.")],
    accuracy: Annotated[str, typer.Option(help="The figure as printed, such as 0.9996 or 99.96%.")],
    metric: Annotated[str, typer.Option(help="accuracy, sensitivity, specificity, ppv, npv, f1, ...")] = "accuracy",
    majority_share: Annotated[float | None, typer.Option(help="Share of the commonest class, 0 to 1.")] = None,
    half_width: Annotated[float | None, typer.Option(help="Wanted half-width of the interval.")] = None,
    positives: Annotated[int | None, typer.Option(help="Images of the positive class, for f1.")] = None,
    json_: Json = False,
) -> None:
    """Check a published figure: is it possible at all, how wide is its interval. Exit code 1 if it is impossible."""
    from tumorscope.evaluation.claims import check_claim

    report = check_claim(
        accuracy=accuracy,
        n=n,
        metric=metric,
        majority_share=majority_share,
        half_width=half_width,
        positives=positives,
    )
    if json_:
        say_json(report.to_json())
    else:
        typer.echo("\n".join(report.sentences))
    if report.possible is False:
        raise typer.Exit(1)
