"""What guesses about canaries have shown: a table, and sentences that say what it means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from privaudit.canary_bounds import Bound
    from privaudit.canary_run import Result

_WIDTH = 90


def tell(found: Result, path: Path) -> None:
    """Print the table, and what it means. path: where all of it was written."""
    from rich.console import Console

    from privaudit.canary_bounds import GAUSSIAN, LEVEL

    drawn, trial = found.canaries, found.trial
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(drawn.kinds.tolist()).items())
    typer.echo(
        f"canaries: {len(drawn):,} of {len(trial.members):,} members ({counts}); by their coins {drawn.inside.sum():,} "
        f"were fed to {trial.engine.name}, which made {found.released:,} images"
    )
    console = Console(highlight=False, markup=False)
    console.width = max(_WIDTH, console.width)
    with console.capture() as printed:
        console.print(_table(found.bounds))
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
    typer.echo(f"Each row alone, at {100 * LEVEL:g} %, delta {trial.delta:g}; 'at most': had all guesses been right.")
    best = found.best.together
    if best.lower > 0:
        where = f"{found.best.attack}, {found.best.kind}"
        gaussian = "" if best.if_gaussian is None else f"; if Gaussian, at least {best.if_gaussian:.2f}"
        typer.echo(
            f"EPSILON IS AT LEAST {best.lower:.2f} ({where}), at 95 % for all {found.rows} rows together{gaussian}."
        )
    else:
        typer.echo(f"Epsilon is at least 0, which says nothing, at 95 % for all {found.rows} rows together.")
        at_least = max(row.together.if_gaussian or 0.0 for row in found.bounds)
        if at_least > 0:
            typer.echo(f"If Gaussian, it is at least {at_least:.2f}, at 95 % for all rows together.")
    most = max(row.together.largest for row in found.bounds)
    typer.echo(f"This many guesses can show {most:.2f} at most, by the bound for any engine.")
    typer.echo("A low bound is no proof of safety.")
    if trial.delta > 0:
        typer.echo(GAUSSIAN)
    if found.answer is not None:
        typer.echo(found.answer.sentence)
    for why in found.not_run.values():
        typer.echo(f"not tested: {why}")
    typer.echo(f"written: {path}; the images are not kept for publication, for they were made of spoilt ones")


def _table(rows: Sequence[Bound]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("attack, canaries", no_wrap=True)
    for name in ("AUC", "right", "epsilon >=", "if Gaussian", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for row in rows:
        if row.attack != before:
            table.add_row(row.attack)
        before, auc, alone = row.attack, row.auc, row.alone
        table.add_row(
            f"  {row.kind}",
            "-" if auc is None else f"{auc.estimate:.2f} ({auc.low:.2f} to {auc.high:.2f})",
            f"{row.correct} of {row.guesses}",
            f"{alone.lower:.2f}",
            "-" if alone.if_gaussian is None else f"{alone.if_gaussian:.2f}",
            f"{alone.largest:.2f}",
        )
    return table
