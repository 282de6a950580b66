"""`privaudit benchmark`: a grid of synthesis settings x seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privaudit.cli import options
from privaudit.cli.inputs import working_on
from privaudit.cli.options import DeviceChoice
from privaudit.cli.terminal import Announcer, errors_as_sentences
from privaudit.errors import InputError, PrivauditError

if TYPE_CHECKING:
    from privaudit.cli.job import Places
    from privaudit.evidence import AuditEvidence
    from privaudit.grid.configuration import Grid
    from privaudit.grid.record import Cell, GridRecord
    from privaudit.policy import Policy
    from privaudit.runs import RunFolder

_NOT_FINISHED = 3


def benchmark(
    grid: Annotated[
        Path | None, typer.Argument(metavar="GRID", help="The settings, one line each (see: --example).")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where tables and pictures go; made if missing.")] = Path(
        "privaudit-benchmark"
    ),
    against: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="An earlier benchmark of the same settings: is any leakier now?"),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a commented grid, and exit.")] = False,
    store: options.Store = Path(".privaudit"),
    weights: options.Weights = None,
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    json_: Annotated[bool, typer.Option("--json", help="Print benchmark.json instead of the table.")] = False,
    quiet: options.Quiet = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="Exit 0 even if a setting is leakier.")] = False,
) -> None:
    """Compare synthesis settings by what they leak and by what they are worth, over several seeds.

    Within a seed all settings meet the same images and attacks. The baseline is made twice: what the two differ by is
    noise. A killed benchmark goes on where it was, and a line that is added later costs that line alone.

    Exit codes: 0 no setting is shown to be leakier, 1 one is (than the baseline, or than before), 2 the data or the
    command is not usable, 3 a setting could not be finished, 130 interrupted.
    """
    if example:
        from privaudit.configuration import example_text

        typer.echo(example_text("grid.yaml"), nl=False)
        return
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.cli.job import Places
        from privaudit.grid.configuration import load_grid

        if grid is None:
            raise InputError("Name the grid of settings. See one with: privaudit benchmark --example")
        found = load_grid(grid)
        earlier = None if against is None else _record(against)
        places = Places(out, store, weights, device.value, workers, json_, quiet, no_fail)
        record = _carried_out(found, earlier, places)
        _tell(record, places)


def _record(folder: Path) -> GridRecord:
    """The record of an earlier benchmark. Raises InputError where there is none."""
    from pydantic import ValidationError

    from privaudit.grid.record import GridRecord
    from privaudit.runs import BENCHMARK

    path = folder / "share" / BENCHMARK
    try:
        return GridRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError):
        raise InputError(
            f"There is no readable benchmark in '{folder}'. --against needs the folder that a benchmark wrote with "
            "--out."
        ) from None


def _carried_out(grid: Grid, earlier: GridRecord | None, places: Places) -> GridRecord:
    from privaudit.cli.inputs import check_places, sources_of
    from privaudit.cli.job import attacks_of, engine_of
    from privaudit.policy import load_policy
    from privaudit.runs import BENCHMARK, PLAN, check_out

    if (places.out / "private" / PLAN).exists():
        raise InputError(f"The folder '{places.out}' holds an audit. Choose another --out.")
    if not (places.out / "share" / BENCHMARK).exists():
        check_out(places.out)
    check_places(places.out, places.store, sources_of(grid.data))
    rules = load_policy(grid.policy)
    attacks = attacks_of(grid.configuration(0, grid.attacks or {name: {} for name in rules.required_attacks}))
    for candidate in grid.configuration(0, attacks).candidates:
        try:
            engine_of(candidate)
        except InputError as error:
            raise InputError(f"setting '{candidate.name}': {error}") from None
    cells: list[Cell] = []
    seeds: dict[int, AuditEvidence] = {}
    with Announcer(places.quiet) as announce:
        for seed in grid.seeds:
            announce.line(f"seed {seed}: {len(grid.settings)} settings, and '{grid.compared_with}' once more")
            evidence, found = _seed(grid, seed, attacks, rules, places, announce)
            cells += found
            seeds[seed] = evidence
        announce("writing the tables")
        record = _assembled(grid, rules, cells, seeds, earlier)
        from privaudit.reporting.grid_view import write_grid

        write_grid(record, places.out / "share")
    return record


def _seed(
    grid: Grid, seed: int, attacks: dict[str, dict[str, Any]], rules: Policy, places: Places, announce: Announcer
) -> tuple[AuditEvidence, list[Cell]]:
    """One seed: every candidate made, attacked and measured. One that cannot be made is recorded, and others go on."""
    from privaudit.audit import collect
    from privaudit.cli.inputs import load_parts
    from privaudit.cli.job import engine_of, facts_of, link_persons, made_by, plan_of
    from privaudit.grid.figures import cells
    from privaudit.grid.record import Cell
    from privaudit.runs import open_run
    from privaudit.store import Store, key_of
    from privaudit.store_lock import in_use
    from privaudit.synthesizer import told_classes

    configuration = grid.configuration(seed, attacks)
    parts = load_parts(configuration.data, seed, announce, linked=lambda: link_persons(attacks))
    plan = plan_of(configuration, places, parts, attacks)
    classes = len(parts.members.class_names)
    engines = {one.name: told_classes(engine_of(one), classes) for one in configuration.candidates}
    facts = plan.facts({one.name: facts_of(engines[one.name], one.repeat) for one in configuration.candidates})
    store = Store(places.store)
    folder = places.out / "private" / f"seed-{seed}-{key_of(facts)[:8]}"
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with in_use(store.root), open_run(folder, facts) as run:
        finished = _finished(run, set(engines))
        failed: dict[str, str] = {}
        if finished is None:
            made = {}
            for one in configuration.candidates:
                announce(f"seed {seed}: {one.name}")
                try:
                    made[one.name] = made_by(one.name, engines[one.name], plan, run, store, announce, one.repeat)
                except PrivauditError as error:
                    failed[one.name] = str(error)
                    announce.line(f"seed {seed}, setting '{one.name}': {error}")
            if not made:
                raise InputError(f"No candidate could be made. {next(iter(failed.values()))}")
            finished = collect(replace(plan, candidates=list(made.values())), rules, store, announce)
            run.keep(finished, rules.model_dump(mode="json", by_alias=True))
    return finished, [
        *cells(finished, rules),
        *(
            Cell(setting=name, seed=seed, verdict=None, failure=why, release=None, images=0, figures={})
            for name, why in failed.items()
        ),
    ]


def _finished(run: RunFolder, names: set[str]) -> AuditEvidence | None:
    """What was finished before: evidence on all candidates."""
    from privaudit import evidence as evidence_files

    try:
        found = evidence_files.load(run.evidence)
    except InputError:
        return None
    complete = names == {release.name for release in found.facts.releases}
    crashed = any(attack.failure is not None for release in found.facts.releases for attack in release.attacks)
    return found if complete and not crashed else None


def _assembled(
    grid: Grid, rules: Policy, cells: list[Cell], seeds: dict[int, AuditEvidence], earlier: GridRecord | None
) -> GridRecord:
    from privaudit.grid.comparison import ALPHA, against, lines
    from privaudit.grid.record import GridRecord

    table = {(cell.setting, cell.seed): cell for cell in cells}
    first = next(iter(seeds.values()))
    manifest = first.facts.manifest
    members = min(evidence.facts.data.scored_members for evidence in seeds.values())
    alpha = ALPHA if earlier is None else ALPHA / 2  # two families of tests share the error rate
    found, noise = lines(grid, table, members, alpha)
    record = GridRecord(
        baseline=grid.compared_with,
        again=grid.again,
        seeds=grid.seeds,
        lines=found,
        noise=noise,
        unfinished=tuple(cell for cell in cells if cell.failure is not None),
        cells=tuple(cells),
        facts={
            "data": {str(seed): evidence.facts.manifest["hashes"]["data"] for seed, evidence in seeds.items()},
            "attacks": manifest["family"],
            "effort": grid.effort,
            "max_suspects": grid.max_suspects,
            "students": grid.utility_seeds if grid.utility else 0,
            "members": members,
        },
        manifest={name: manifest[name] for name in ("versions", "commit", "hardware")} | {"policy": rules.name},
    )
    if earlier is None:
        return record
    return record.model_copy(update={"against": against(record, earlier, alpha)})


def _tell(record: GridRecord, places: Places) -> None:
    """Print the table, and exit with the code of what was shown."""
    from privaudit.grid.comparison import is_worse
    from privaudit.reporting.grid_view import headline, tables
    from privaudit.runs import BENCHMARK

    if places.json:
        typer.echo((places.out / "share" / BENCHMARK).read_text(encoding="utf-8"), nl=False)
    else:
        settings = tables(record)[0]
        for row in settings.rows:
            typer.echo(row.head)
            for column, cell in zip(settings.columns[1:], row.cells, strict=True):
                typer.echo(f"  {column}: {cell}")
        for one in record.unfinished:
            typer.echo(f"not finished: {one.setting}, seed {one.seed}: {one.failure}")
        typer.echo(headline(record))
        typer.echo(f"tables: {places.out / 'share' / 'benchmark.html'}")
    worse = is_worse(record) and not places.no_fail
    raise typer.Exit(1 if worse else _NOT_FINISHED if record.unfinished else 0)
