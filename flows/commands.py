"""The flows' commands: what an ML engineer types. Results for programs go to stdout, everything for people to stderr."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.ingest_commands import app as ingest_app
from flows.model_commands import app as model_app
from flows.quarantine_commands import app as quarantine_app
from flows.terminal import AlwaysJson, Json
from flows.terminal import home as _home
from flows.terminal import print_json as _print_json
from flows.terminal import say as _say
from infra import layout
from models.schema import DAY_US

if TYPE_CHECKING:
    from infra.promotion import Move
    from infra.release import Release
    from models.experiments.runs import Run

app = typer.Typer()
app.add_typer(ingest_app)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(model_app, name="models")
weights_app = typer.Typer(
    help="What each action counts: posterior, interval, prior; freeze and thaw.", invoke_without_command=True
)
app.add_typer(weights_app, name="weights")
experiment_app = typer.Typer(help="Experiments: what the variants did to visitors.", no_args_is_help=True)
app.add_typer(experiment_app, name="experiment")


By = Annotated[str, typer.Option("--by", help="Who decides; the audit names them.")]
Why = Annotated[str, typer.Option("--reason", help="Why; the audit keeps it.")]


def _instant_us(text: str | None) -> int | None:
    """Read ``--as-of``: an RFC 3339 instant, or a date (its end, UTC)."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("expected a date or an instant, such as 2026-11-20 or 2026-11-20T12:00:00Z") from error
    if len(text) == len("2026-11-20"):
        instant = instant.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return int(instant.replace(tzinfo=instant.tzinfo or UTC).timestamp() * 1_000_000)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Where the events go; the truth goes beside it.")],
    users: Annotated[int, typer.Option(min=1, help="Number of visitors.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="Length of the period that ends now.")] = 14,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same shop.")] = 1,
    end: Annotated[str | None, typer.Option(help="End of the period (date or instant); default: now.")] = None,
    as_json: AlwaysJson = True,
) -> None:
    """Write the events of a simulated shop whose truth is known, as JSON lines."""
    from flows.simulate import write_shop
    from models.simulator import ShopConfig

    end_us = _instant_us(end) or int(time.time() * 1e6)
    start_us = end_us - days * DAY_US
    _print_json(write_shop(ShopConfig(n_users=users, n_days=days, seed=seed, start_us=start_us), out))


@app.command()
def retrain(
    as_of: Annotated[str | None, typer.Option(help="Train as if it were this date or instant.")] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler whose workers fold visitors.")] = None,
    events: Annotated[Path | None, typer.Option(help="A file to ingest first.")] = None,
    format: Annotated[str | None, typer.Option(help="The format of --events; attune if not given.")] = None,
    map_file: Annotated[str | None, typer.Option("--map", help="Map of the columns of --events.")] = None,
    partner: Annotated[str, typer.Option(help="Whose events --events has.")] = "local",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="MODEL.PARAMETER=VALUE", help="A hyper-parameter; repeatable.")
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Wait for attune approve before anything new serves.")] = False,
    wait_min: Annotated[int, typer.Option("--wait", min=1, help="Minutes that --approve waits.")] = 60,
    and_deploy: Annotated[bool, typer.Option("--deploy", help="If anything was promoted, end with attune deploy.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole retraining flow once; print the candidate versions and the gate's verdict."""
    from flows.retrain import run
    from models.evaluation.gate import in_words

    within_s = 60 * wait_min if approve else 0
    whose: dict[str, str | None] = {"partner": partner, "map_file": map_file}
    params = dict(map(_setting, settings or ()))
    asked = {"settings": params, "and_deploy": and_deploy}
    summary = run(_home(), events, format, _past_us(as_of), dask, within_s, **whose, **asked)  # type: ignore[arg-type]
    if as_json:
        _print_json(summary)
        return
    typer.echo(f"verdict: {in_words(summary)}")
    for name, version in summary["versions"].items():
        one = summary["models"][name]
        serves = summary["champions"].get(name) == version
        typer.echo(f"  {name}:{version}  {'serves' if serves else one['why'] or 'not promoted'}")
    if summary["deployed"]:
        typer.echo(f"deployed: {summary['deployed']['bento']}")


def _setting(words: str) -> tuple[str, str]:
    path, equals, value = words.partition("=")
    if not equals:
        raise ValueError("expected MODEL.PARAMETER=VALUE, such as --set next_action.learning_rate=0.1")
    return path.strip(), value.strip()


@app.command()
def approve(
    reject: Annotated[bool, typer.Option("--reject", help="Let the champion stay.")] = False,
    by: Annotated[str, typer.Option(help="Who decides; the audit names them.")] = "operator",
    as_json: Json = False,
) -> None:
    """Answer the retraining that waits for a person: its candidate serves, or does not."""
    from flows.approve import answer

    told = answer(_home(), approved=not reject, by=by)
    candidate = ", ".join(f"{name}:{version}" for name, version in told["versions"].items())
    _print_json(told) if as_json else typer.echo(f"{'rejected' if reject else 'approved'}: {candidate}")


@weights_app.callback()
def weights(
    context: typer.Context,
    sequences: Annotated[bool, typer.Option("--sequences", help="Chains of actions, their lift, removal effects.")] = False,
    causes: Annotated[bool, typer.Option("--causes", help="What actions cause, apart from what they predict.")] = False,
    as_json: Json = False,
) -> None:
    """Show what each action predicts and so counts, with posterior, interval and prior; or what it causes."""
    if context.invoked_subcommand is not None:
        return
    from flows import weigh

    if sequences and causes:
        raise ValueError("expected --sequences or --causes, got both")
    look, lines = weigh.inspect, weigh.weight_lines
    if sequences:
        look, lines = weigh.sequences, weigh.sequence_lines
    elif causes:
        look, lines = weigh.causes, weigh.cause_lines
    found = look(_home())
    if as_json:
        _print_json(found)
        return
    for line in lines(found):
        typer.echo(line)


@weights_app.command("freeze")
def weights_freeze(as_json: AlwaysJson = True) -> None:
    """Let the present weights serve until they are thawed."""
    from flows.weigh import freeze

    _print_json(freeze(_home()))


@weights_app.command("thaw")
def weights_thaw(as_json: AlwaysJson = True) -> None:
    """Let the weights follow what visitors do again."""
    from flows.weigh import thaw

    _print_json(thaw(_home()))


@app.command()
def tune(
    as_of: Annotated[str | None, typer.Option(help="Tune as if it were this date or instant.")] = None, as_json: Json = False
) -> None:
    """Learn weight profiles from the logged sessions; the profile bandit chooses among them once they are promoted."""
    from flows.tune import tune as tune_profiles

    found = tune_profiles(_home(), _past_us(as_of))
    if as_json:
        _print_json(found)
        return
    for name, ndcg in found["profiles"].items():
        typer.echo(f"{name}  NDCG@20 {ndcg}")
    _say(f"kept as profiles:{found['version']}; on trial until attune retrain judges them; at once: attune promote profiles")


@app.command()
def schedule(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Prefect's server and pages.")] = 4200,
) -> None:
    """Serve the Prefect deployments (cron, drift trigger) on this machine until Ctrl-C."""
    from flows.schedule import run

    run(_home(), port=port)


@app.command()
def deploy(
    listed: Annotated[bool, typer.Option("--list", help="The releases of this home, newest first; builds nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Pack the champions with the service into a Bento, try it in a process of its own, and put it on record."""
    from infra.release import releases

    if listed:
        found = releases(_home())
        if as_json:
            _print_json(found)
            return
        for one in found:
            typer.echo(_released(one))
        if not found:
            _say("nothing was deployed yet: attune deploy")
        return
    from flows.deploy import run

    done = run(_home())
    if as_json:
        _print_json(done._asdict())
        return
    typer.echo(_released(done))
    at = f"BENTOML_HOME={_home() / layout.BENTOML}"
    _say(f"as an image: {at} bentoml containerize {done.bento}; here: {at} bentoml serve {done.bento}")


def _released(one: "Release") -> str:
    made_at = datetime.fromtimestamp(one.made_at_us / 1e6, UTC).isoformat(timespec="seconds")
    models = ", ".join(f"{name}:{version}" for name, version in one.models.items())
    return f"{one.bento or f'release {one.id}, came with an image'}  {made_at}  {models}"


@app.command()
def evaluate(as_json: Json = False) -> None:
    """Write and print the evaluation report of the champion and the newest candidate."""
    from infra.registry import versions

    home = _home()
    if not versions(home):  # said before a Prefect server is started
        raise ValueError("there are no models to evaluate yet; train them with: attune retrain")
    from flows.evaluate import PAGE, run
    from flows.reports.evaluation import markdown

    report = run(home)
    if as_json:
        _print_json(report)
        return
    typer.echo(markdown(report))
    _say(f"with plots: {home / layout.REPORTS / PAGE}")


@experiment_app.command("start")
def experiment_start(
    share: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the visitors, dealt the dynamic variant.")] = 0.5,
    by: By = "operator",
    reason: Why = "by hand",
    as_json: Json = False,
) -> None:
    """Begin a new run with a split; one that runs ends with that. Services follow within a second."""
    from infra import experiments

    run = experiments.start(_home(), share, actor=by, reason=reason)
    _told_run(run, f"{run.name} runs, {share:g} dynamic", as_json)


@experiment_app.command("stop")
def experiment_stop(by: By = "operator", reason: Why = "by hand", as_json: Json = False) -> None:
    """End the run: every visitor gets the control, static weighting."""
    from infra import experiments

    run = experiments.stop(_home(), actor=by, reason=reason)
    _told_run(run, f"{run.name}: every visitor gets static", as_json)


@experiment_app.command("ship")
def experiment_ship(winner: str, by: By = "operator", reason: Why = "by hand", as_json: Json = False) -> None:
    """End the run, and give every visitor one variant: dynamic or static."""
    from infra import experiments

    run = experiments.ship(_home(), winner, actor=by, reason=reason)
    _told_run(run, f"{run.name}: every visitor gets {winner}", as_json)


def _told_run(run: "Run", sentence: str, as_json: bool) -> None:
    _print_json(run) if as_json else typer.echo(sentence)


@experiment_app.command("report")
def experiment_report(
    name: Annotated[str | None, typer.Argument(help="Default: the experiment with the newest decision.")] = None,
    as_json: Json = False,
) -> None:
    """Print what an experiment says so far: sample ratio, conversion, revenue, guardrails, how long it still takes."""
    from flows.experiment import run
    from flows.reports.experiment import text

    told = run(_home(), name)
    if as_json:
        _print_json(told)
        return
    typer.echo(text(told))
    _say(f"with the plot: {told['page']}")


@app.command()
def drift(as_json: Json = False) -> None:
    """Compare the latest window of the log with the champion's: features, intents, calibration, rewards."""
    from flows.drift import run
    from flows.reports.drift import text

    report = run(_home())
    if as_json:
        _print_json(report)
        return
    typer.echo(text(report))
    _say(f"retraining: {report['announced']}")


@app.command()
def promote(
    name: Annotated[str | None, typer.Argument(help="NAME or NAME:VERSION; without a version, the newest.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The newest version of every model.")] = False,
    by: By = "operator",
    reason: Why = "by hand",
    as_json: Json = False,
) -> None:
    """Make a version the champion without asking the gate, as the audit tells; running services pick it up."""
    from infra.promotion import promote as promote_version
    from infra.promotion import promote_all

    if (name is None) is not everything:
        raise ValueError("expected NAME, NAME:VERSION or --all, and only one of them")
    if name is not None:
        _told(promote_version(_home(), name, actor=by, reason=reason), as_json)
        return
    moves = promote_all(_home(), actor=by, reason=reason)
    if as_json:
        _print_json(moves)
        return
    for move in moves:
        _told(move, as_json)
    if not moves:
        _say("the newest version of every model serves already")


@app.command()
def rollback(name: str, by: By = "operator", reason: Why = "by hand", as_json: Json = False) -> None:
    """Return to the champion before the present one."""
    from infra.promotion import rollback as rollback_version

    _told(rollback_version(_home(), name, actor=by, reason=reason), as_json)


def _past_us(as_of: str | None) -> int | None:
    at_us = _instant_us(as_of)
    if at_us is not None and at_us > time.time_ns() // 1000:
        raise ValueError("--as-of lies in the future: without it, everything that the log holds is used")
    return at_us


def _told(change: "Move", as_json: bool) -> None:
    if as_json:
        _print_json(change)
    else:
        typer.echo(f"{change.name}: champion {change.from_version} -> {change.to_version}")
