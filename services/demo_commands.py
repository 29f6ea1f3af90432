"""Commands of the demonstration: the shop that people look at, and simulated visitors who use one."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
import typer

app = typer.Typer()


@app.command()
def shop(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 is a free one.")] = 3002,
    url: Annotated[str | None, typer.Option(help="Of the service; the one of this home if not given.")] = None,
    key: Annotated[str | None, typer.Option(envvar="SHOP_KEY", help="A server key; made in this home if not given.")] = None,
    browser_key: Annotated[
        str | None,
        typer.Option(envvar="SHOP_BROWSER_KEY", help="A browser key with --explain and this origin; made if not given."),
    ] = None,
    console: Annotated[str | None, typer.Option(help="Address of the console, to link to it.")] = None,
    bots: Annotated[bool, typer.Option("--bots", help="Count driven browsers, too.")] = False,
) -> None:
    """Serve the demo shop: a partner that uses the public API only, with a panel that shows what Attune sees."""
    from infra.settings import Settings
    from services.demo_shop.app import serve
    from services.local_keys import DEMO, local_key, page_key, service_url
    from services.processes import port_to_listen_on

    home = Settings().home
    url, port = url or service_url(home), port_to_listen_on(host, port)
    origins = [f"http://{name}:{port}" for name in dict.fromkeys((host, "127.0.0.1", "localhost"))]
    serve(
        host=host, port=port, url=url, key=key or local_key(home, DEMO), browser_key=browser_key or page_key(home, origins),
        console=console, bots=bots,
    )  # fmt: skip


@app.command()
def visitors(
    rate: Annotated[float, typer.Option(min=0.01, max=100, help="New visitors a second.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long they come.")] = 3_600.0,
    speed: Annotated[float, typer.Option(min=0.1, help="How much faster than people they are.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same visitors.")] = 1,
    url: Annotated[str | None, typer.Option(help="Of the service; the one of this home if not given.")] = None,
    key: Annotated[str | None, typer.Option(envvar="SHOP_KEY", help="A server key; that of this home if not given.")] = None,
    truth: Annotated[Path | None, typer.Option(help="A file for what is on their minds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, as this command always does.")] = True,
) -> None:
    """Let simulated visitors use the shop through the API, until Ctrl-C; prints what they did and were told."""
    from infra.settings import Settings
    from services import visitors as simulated
    from services.client import Attune
    from services.local_keys import local_key, service_url

    home = Settings().home
    url = url or service_url(home)
    client = Attune(key or local_key(home), url, attempts=1)
    with truth.open("a", encoding="utf-8", buffering=1) if truth else nullcontext() as told:
        seen = simulated.run(client, rate, seconds, told, seed=seed, speed=speed)
    typer.echo(msgspec.json.encode(seen._asdict()))
