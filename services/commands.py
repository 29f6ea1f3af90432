"""Commands of the services, as an operator types them."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.schema import SOURCE_FORMATS
from services.console_commands import app as console_app
from services.demo_commands import app as demo_app
from services.home_commands import app as home_app

app = typer.Typer()
app.add_typer(home_app)
app.add_typer(demo_app)
app.add_typer(console_app)
partner_app = typer.Typer(help="Partners and their API keys.", no_args_is_help=True)
app.add_typer(partner_app, name="partner")
signals_app = typer.Typer(help="Signals: whether they are worth it.", no_args_is_help=True)
app.add_typer(signals_app, name="signals")
decisions_app = typer.Typer(help="Decisions on record.", no_args_is_help=True)
app.add_typer(decisions_app, name="decisions")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Host = Annotated[str, typer.Option(envvar="ATTUNE_HOST", help="Address to listen on.")]
Port = Annotated[int, typer.Option(envvar="ATTUNE_PORT", min=0, max=65_535, help="Port to listen on.")]
Workers = Annotated[int, typer.Option(envvar="ATTUNE_WORKERS", min=1, help="Processes that answer requests.")]


def _home() -> Path:
    from infra.settings import Settings

    return Settings().home


def _now_us() -> int:
    return time.time_ns() // 1000


@app.command()
def up(
    events: Annotated[Path | None, typer.Option(help="A file of events; without it, a simulated shop.")] = None,
    format: Annotated[str | None, typer.Option(help=f"One of {', '.join(SOURCE_FORMATS)}; attune if not given.")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="Map of the columns of --events.")] = None,
    guess: Annotated[
        bool, typer.Option("--guess", help="Guess the format or the map of --events, and say what was taken.")
    ] = False,
    partner: Annotated[str, typer.Option(help="Whose visitors the events are of, and whose key is printed.")] = "local",
    host: Host = "127.0.0.1",
    port: Port = 3000,
    workers: Workers = 1,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the documentation page in a browser.")] = True,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first answer.")] = False,
    shop: Annotated[bool, typer.Option("--shop/--no-shop", help="The demo shop, where the events are simulated.")] = True,
    visitors: Annotated[bool, typer.Option("--visitors/--no-visitors", help="Simulated visitors who use that shop.")] = True,
    console: Annotated[bool, typer.Option("--console/--no-console", help="The console, for people.")] = True,
) -> None:
    """Events to answered requests: ingest or simulate, retrain, promote, serve, and ask for one recommendation."""
    from services.up import GUESSED, Plan, run

    if guess and (format or map_file or events is None):
        raise ValueError("--guess is for --events without --format and --map")
    named = ("--map", str(map_file)) if map_file else ("--format", format or "attune")
    form = GUESSED if guess else named
    beside = frozenset(name for name, wanted in (("shop", shop), ("visitors", visitors), ("console", console)) if wanted)
    plan = Plan(_home(), events, form, host, port, workers, open_page and not once, once, partner, beside)
    raise typer.Exit(run(plan))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 3000,
    workers: Workers = 1,
    beside: Annotated[bool, typer.Option("--beside", help="Serve though another service of this home does.")] = False,
) -> None:
    """Answer requests with the champion models until Ctrl-C."""
    from services.launch import serve as serve_requests

    serve_requests(_home(), host=host, port=port, workers=workers, beside=beside)


@app.command()
def worker() -> None:
    """Fold new events into the online features until Ctrl-C; in standby while another worker of this home does."""
    from services.worker.process import run

    run(_home())


@partner_app.command("add")
def partner_add(
    name: str,
    browser: Annotated[bool, typer.Option("--browser", help="A pk_ key, which may stand in a page and send events.")] = False,
    origin: Annotated[list[str] | None, typer.Option(help="A shop's pages that may use the browser key; repeatable.")] = None,
    recommend: Annotated[bool, typer.Option("--recommend", help="The browser key may also ask for items.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="As --recommend, with reasons and weights.")] = False,
    scope: Annotated[list[str] | None, typer.Option(help="What the key may do, if not everything; repeatable.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="A limit of this key's own.")] = None,
    as_json: Json = False,
) -> None:
    """Create a partner's key and print it; it cannot be shown again."""
    from services.http import partners

    if (recommend or explain) and not (browser and origin):
        raise typer.BadParameter("--recommend and --explain need --browser and --origin")
    asked = [partners.PAGE] * (recommend or explain) + [partners.EXPLAIN] * explain
    kind, origins, scopes = "pk" if browser else "sk", origin or (), scope or ()
    scopes = [*(scopes or partners.BROWSER_SCOPES[:1]), *asked] if asked else scopes
    key = partners.add(
        _home(), name, _now_us(), kind, scopes=scopes, origins=origins, requests_per_minute=requests_per_minute
    )  # fmt: skip
    may = scopes or (partners.BROWSER_SCOPES[:1] if browser else partners.SCOPES)
    told = {"partner": name, "kind": kind, "key": key, "scopes": may, "origins": origins}
    typer.echo(msgspec.json.encode(told) if as_json else key)
    if browser and not origins:
        typer.echo("no web page may use this key: give its --origin, such as https://shop.example", err=True)


@partner_app.command("list")
def partner_list(as_json: Json = False) -> None:
    """List partners with the hints of their keys."""
    from services.http import partners

    rows = partners.listing(_home())
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        state = "revoked" if row["revoked_at_us"] else "expiring" if row["expires_at_us"] else "valid"
        typer.echo(f"{row['partner']}  {row['hint'] or '-'}…  {state}  {row['scopes'] or ''}")


@partner_app.command("rotate")
def partner_rotate(name: str, as_json: Json = False) -> None:
    """Print a new server key; the old ones stay valid for a day."""
    from services.http import partners

    key = partners.rotate(_home(), name, _now_us())
    typer.echo(msgspec.json.encode({"partner": name, "key": key}) if as_json else key)


@partner_app.command("revoke")
def partner_revoke(name: str, as_json: Json = False) -> None:
    """Refuse all keys of a partner, at once."""
    from services.http import partners

    n_keys = partners.revoke(_home(), name, _now_us())
    typer.echo(msgspec.json.encode({"partner": name, "revoked": n_keys}) if as_json else f"{n_keys} keys revoked")


@partner_app.command("names")
def partner_names(name: str, as_json: Json = False) -> None:
    """Show a partner's own names of event types, as PUT /v1/event-types has told them."""
    from services.http import partners

    names = partners.own_names(_home(), name)
    if as_json:
        typer.echo(msgspec.json.encode({"partner": name, "names": names}))
        return
    for own, event_type in names.items():
        typer.echo(f"{own}  {event_type}")
    if not names:
        typer.echo("no names of its own; tell them with: PUT /v1/event-types", err=True)


@app.command()
def erase(user: str, partner: Annotated[str, typer.Option(help="Whose user it is.")] = "local", as_json: Json = False) -> None:
    """Erase a user, by the partner's own id (- reads it from stdin): log, features, queues, decisions. Prints a receipt."""
    from infra.settings import Settings
    from services.privacy import erasure

    settings = Settings()
    if user == "-":  # what stands in a command, every user of the machine may read
        user = sys.stdin.readline().rstrip("\r\n")
    erasure.require(settings.home, partner, user)
    receipt = erasure.erase(settings.home, partner, user, _now_us(), erasure.online_of(settings))
    if as_json:
        typer.echo(msgspec.json.encode(receipt))
        return
    removed = ", ".join(f"{n} {table}" for table, n in sorted(receipt.removed.items())) or "nothing was kept"
    typer.echo(f"receipt {receipt.receipt_id}: {removed}")
    if not receipt.completed:
        typer.echo("a flow is writing features, or a reader keeps what was; the worker completes it after that", err=True)


@signals_app.command("uplift")
def signals_uplift(
    partner: Annotated[str | None, typer.Option(help="Default: every partner with signals.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only users whose first signal is not older (UTC).")] = None,
    window_days: Annotated[float, typer.Option(min=0.01, max=365, help="Outcomes count for so long after it.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Compare users who were sent signals with those held out: do more buy, and does it pay after discounts?"""
    from models.experiments.uplift import UpliftParams
    from models.schema import DAY_US
    from services.signals import uplift

    since_us = 0 if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1e6)
    found = uplift.of_home(_home(), partner, since_us, UpliftParams(window_us=int(window_days * DAY_US)))
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        typer.echo("\n".join(uplift.text(one) for one in found) or "no signals yet")


@signals_app.command("simulate")
def signals_simulate(
    policy: Annotated[Path, typer.Option(help="The policy, as PUT /v1/signals/policy takes it.", exists=True, dir_okay=False)],
    partner: Annotated[str, typer.Option(help="Whose days.")] = "local",
    days: Annotated[float, typer.Option(min=0.01, max=90, help="Before the newest event.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Rehearse a policy on a partner's last days: what it would have sent, to whom, when, and at what cost. Nothing is set."""
    from infra.settings import Settings
    from services.rehearsals import of_home
    from services.serving.model_watch import ChampionWatcher
    from services.signals import rehearsal
    from services.signals.policies import DECODER, contradiction, to_policy

    try:
        body = DECODER.decode(policy.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{policy.name} is no policy: {error}") from None
    if wrong := contradiction(body):
        raise typer.BadParameter(f"{policy.name}{wrong.pointer}: {wrong.reason}")
    settings = Settings(home=_home())
    champions = ChampionWatcher(settings.home)
    champions.refresh()
    found = of_home(settings, partner, to_policy(body), champions.current(), _now_us(), days=days)
    typer.echo(msgspec.json.encode(found) if as_json else rehearsal.text(found))


@decisions_app.command("replay")
def decisions_replay(as_json: Json = False) -> None:
    """Take the decisions of the profile bandit once more, as far as its snapshots reach; exit code 1 if one differs."""
    from services.serving.profiles import replay

    found = replay(_home())
    if as_json:
        typer.echo(msgspec.json.encode({"decisions": found.n_decisions, "different": found.different}))
    else:
        typer.echo(f"{found.n_decisions} decisions repeated, {len(found.different)} came out otherwise")
    if found.different:
        raise typer.Exit(1)


@app.command()
def migrate(
    as_json: Json = False,
    from_home: Annotated[
        bool, typer.Option("--from-home", help="Copy the home's file to the server of ATTUNE_STORE_URL.")
    ] = False,
) -> None:
    """Bring the store to the revision of this Attune; every command does so with the file of a home, none with a server."""
    from infra.registry import publish
    from infra.store.engines import migrate as migrated
    from infra.store.engines import move

    if from_home:
        moved = move(_home())
        publish(_home())
        typer.echo(msgspec.json.encode(moved) if as_json else f"{sum(moved.values())} rows of {len(moved)} tables moved")
        return
    done = migrated(_home())
    publish(_home())
    if as_json:
        typer.echo(msgspec.json.encode({"from": done.before, "to": done.newest, "applied": done.applied}))
    else:
        typer.echo(f"revision {done.newest}: {', '.join(done.applied) or 'nothing to do'}")


@app.command()
def doctor(
    as_json: Json = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Look at every page of the store, too: seconds per million events.")
    ] = False,
) -> None:
    """Say how every part is, and how to mend what is not well."""
    from services.doctor import examine

    findings = examine(_home(), whole=whole)
    if as_json:
        typer.echo(msgspec.json.encode([f._asdict() for f in findings]))
    else:
        for finding in findings:
            mend = f"  -> {finding.mend}" if finding.mend else ""
            typer.echo(f"{finding.state:4}  {finding.part}: {finding.says}{mend}")
    if any(f.state == "fail" for f in findings):
        raise typer.Exit(1)
