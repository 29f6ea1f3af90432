"""The command that brings files of events into the log."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows.terminal import AlwaysJson, home, print_json, say
from models.schema import SOURCE_FORMATS

if TYPE_CHECKING:
    from flows.append import Counts

app = typer.Typer()

PARTNER_NAME: Final = re.compile(r"[\w.-]{1,64}").fullmatch
UNREAD: Final = 2  # exit code where one of several files could not be read
UNFIT: Final = 3  # exit code where more than half of the rows were refused
SHOWN_REASONS: Final = 5


@app.command()
def ingest(
    files: Annotated[list[str], typer.Argument(help="Files, folders, patterns, or - for standard input; plain or packed.")],
    format: Annotated[str | None, typer.Option(help=f"One of {', '.join(SOURCE_FORMATS)}; attune if not given.")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="Map of a table's columns (TOML).")] = None,
    guess: Annotated[bool, typer.Option("--guess", help="Write the map, to --map or stdout; nothing is stored.")] = False,
    partner: Annotated[str, typer.Option(help="Whose events: a name of attune partner add, or local.")] = "local",
    check: Annotated[bool, typer.Option("--check", help="Only look at the beginnings; nothing is stored.")] = False,
    as_json: AlwaysJson = True,
) -> None:
    """Read files into the event log; rows that cannot be read go to quarantine with the reason."""
    from flows.files import files_of
    from flows.look import OtherFormatError
    from flows.sample import form_of

    if format is not None and map_file is not None and not guess:
        raise ValueError("give --format or --map: a map is for a table of no format")
    with files_of(files) as paths:
        if guess:
            _write_guess(paths[0], map_file)
            return
        form = form_of(format, map_file)
        if not PARTNER_NAME(partner):
            raise ValueError("a partner's name is 1 to 64 letters, digits, '-', '_' or '.'")
        try:
            if check:
                _check(paths, form)
            else:
                _ingest(paths, form, partner)
        except OtherFormatError as error:
            say(f"attune: {error}; nothing of it was stored")
            raise typer.Exit(UNFIT) from None


def _write_guess(path: Path, map_file: Path | None) -> None:
    from flows.sample import map_text, sample
    from models.events.sources.guess import guess

    if map_file is not None and map_file.exists():
        raise ValueError(f"{map_file} exists: move it away, or leave --guess out to use it")
    found = guess(sample(path))
    text = map_text(found.format or found.table)  # type: ignore[arg-type]  # one of the two
    for note in found.notes:
        say(note)
    if map_file is None:
        typer.echo(text, nl=False)
    else:
        map_file.write_text(text, encoding="utf-8")
        say(f"look through {map_file}, then: attune ingest {path} --map {map_file}")


def _check(paths: list[Path], form: Any) -> None:
    from flows.look import look_at

    for path in paths:
        found = look_at(path, *form)
        n_good = found.n_rows - found.refused.total()
        say(f"{path.name}: {n_good} of the first {found.n_rows} rows can be read")
        _say_reasons(found.refused)


def _ingest(paths: list[Path], form: Any, partner: str) -> None:
    from flows.append import Counts, ingest_file
    from flows.parse import EmptyFileError
    from infra.store.errors import StoreUnavailable

    if not _is_known(partner):
        say(f"no partner is called {partner} yet: what its visitors do meets this history after: attune partner add {partner}")
    total, reasons = Counts(0, 0, 0), Counter[str]()
    format, table = form
    left_out = 0
    for path in paths:
        try:
            counts = ingest_file(path, format, home(), partner, table=table, reasons=reasons)
        except (ValueError, OSError) as error:
            if len(paths) == 1 or isinstance(error, StoreUnavailable):
                raise
            left_out += not isinstance(error, EmptyFileError)
            say(f"{error}; it is left out")
            continue
        if len(paths) > 1:
            say(f"{path}: {counts.accepted} accepted, {counts.duplicate} duplicate, {counts.quarantined} quarantined")
        total = total.plus(counts)
    print_json(total._asdict())
    if left_out:
        say(f"attune: {left_out} of {len(paths)} files could not be read and were left out")
    if _is_unfit(total):
        say(f"attune: {total.quarantined} of {sum(total)} rows were refused{_likely(paths[0], form)}")
        _say_reasons(reasons)
        raise typer.Exit(UNFIT)
    if left_out:
        raise typer.Exit(UNREAD)


def _is_known(partner: str) -> bool:
    from contextlib import closing

    from infra.store.engines import open_store
    from infra.store.statements.partners import IS_PARTNER
    from models.schema import LOCAL_PARTNER

    with closing(open_store(home())) as store:
        return partner == LOCAL_PARTNER or bool(store.read(IS_PARTNER, (partner,)))


def _is_unfit(counts: "Counts") -> bool:
    return 2 * counts.quarantined > sum(counts)


def _likely(path: Path, form: Any) -> str:
    from flows.look import hint

    return hint(path, form[0]) if form[1] is None else ""


def _say_reasons(reasons: "Counter[str]") -> None:
    for reason, n_rows in reasons.most_common(SHOWN_REASONS):
        say(f"  {n_rows} rows: {reason}")
    if len(reasons) > SHOWN_REASONS:
        say(f"  and {len(reasons) - SHOWN_REASONS} more reasons; all of them: attune quarantine list")
