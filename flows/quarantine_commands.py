"""Commands about rows that were refused or held back: look, decide, send again."""

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from flows.terminal import AlwaysJson, Json, home, print_json, say

app = typer.Typer(help="Rejected rows and events held back: look, decide, replay.", no_args_is_help=True)

SAID: Final = "no reason was given"
Ids = Annotated[list[int] | None, typer.Argument(help="Rows, by the id that list shows.")]
Named = Annotated[str | None, typer.Option(help="All that failed this expectation.")]
Visitor = Annotated[str | None, typer.Option(help="All of this visitor, by the pseudonym that list shows.")]
All = Annotated[bool, typer.Option("--all", help="All rows that wait.")]


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, help="Newest rows first.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what waits: the newest rows with their reasons, then all of it by reason."""
    from flows.decide import sums
    from flows.quarantine import list_rows

    rows = list_rows(home(), limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        where = f"line {row['line']}" if row["line"] is not None else f"event {row['seq']}"
        typer.echo(f"{row['id']}  {row['source']}  {where}  {row['reason']}")
    say(f"{len(rows)} rows shown")
    for one in sums(home()):
        who = (
            ""
            if not one["n_visitors"]
            else f" of visitor {one['visitor']}"
            if one["visitor"]
            else f" of {one['n_visitors']} visitors"
        )
        say(f"{one['n_rows']} rows{who}: {one['reason']} ({one['source']})")
    say("one in full: attune quarantine show ID; decide: attune quarantine accept|drop; after a fix: attune quarantine replay")


@app.command()
def show(id: Annotated[int, typer.Argument(help="As list shows it.")], as_json: AlwaysJson = True) -> None:
    """Print one row, and the event behind it, as JSON."""
    from flows.decide import show as shown

    print_json(shown(home(), id))


@app.command()
def hold(
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rows.")],
    events: Annotated[list[int] | None, typer.Argument(help="Events, by their number in the log.")] = None,
    visitor: Visitor = None,
    source: Annotated[str | None, typer.Option(help="All that came with a file of this name (no folder).")] = None,
    since: Annotated[datetime | None, typer.Option(help="All that were received since then (UTC).")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that validation holds back now.")] = False,
    as_json: AlwaysJson = True,
) -> None:
    """Hold events of the log back, until they are accepted."""
    from flows.decide import Held
    from flows.decide import hold as held

    since_us = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1e6)
    print_json({"held": held(home(), Held(events or (), visitor, source, since_us, failed), reason)})


@app.command()
def accept(
    reason: Annotated[str, typer.Option(help="Why they are right; it is kept with the rows.")],
    ids: Ids = None,
    named: Named = None,
    visitor: Visitor = None,
    everything: All = False,
    as_json: AlwaysJson = True,
) -> None:
    """Believe events that are held back: they count, and validation lets them pass."""
    from flows.decide import Choice
    from flows.decide import accept as accepted

    print_json({"accepted": accepted(home(), Choice(ids or (), named, visitor, everything), reason)})


@app.command()
def drop(
    ids: Ids = None,
    named: Named = None,
    visitor: Visitor = None,
    everything: All = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rows.")] = SAID,
    as_json: AlwaysJson = True,
) -> None:
    """Go on without rows for good."""
    from flows.decide import Choice
    from flows.decide import drop as dropped

    print_json({"dropped": dropped(home(), Choice(ids or (), named, visitor, everything), reason)})


@app.command()
def replay(as_json: AlwaysJson = True) -> None:
    """Send rejected rows through the door again."""
    from flows.quarantine import replay as replayed

    print_json(replayed(home())._asdict())
