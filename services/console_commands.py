"""Commands of the console: serving it, and who may enter."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

app = typer.Typer()
operator_app = typer.Typer(help="People who may enter the console.", no_args_is_help=True)
app.add_typer(operator_app, name="operator")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def console(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 is a free one.")] = 3001,
    name: Annotated[list[str] | None, typer.Option(help="What it goes by beside its address; repeatable.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="For TLS, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Of the certificate.")] = None,
) -> None:
    """Serve the console until Ctrl-C; on an address that others reach, with TLS or behind a proxy that has it."""
    from infra.settings import Settings
    from services.console.serve import serve
    from services.processes import port_to_listen_on

    settings = Settings()
    if (certificate is None) != (key is None):
        raise typer.BadParameter("--certificate and --key belong together")
    tls = (str(certificate), str(key)) if certificate else None
    port = port_to_listen_on(host, port)
    typer.echo(f"console {'https' if tls else 'http'}://{host}:{port}")
    serve(settings.home, host=host, port=port, names=tuple(name or ()), tls=tls, user_header=settings.console_user_header)


@operator_app.command("add")
def operator_add(
    name: str,
    role: Annotated[str, typer.Option(help="viewer, operator, ml or admin.")] = "viewer",
    url: Annotated[str, typer.Option(help="Of the console.")] = "http://127.0.0.1:3001",
    as_json: Json = False,
) -> None:
    """Let a person into the console, or give another role; prints a link that is good once, for 15 minutes."""
    from infra.settings import Settings
    from services.console import access

    token = access.add(Settings().home, name, role, time.time_ns() // 1000)
    link = f"{url.rstrip('/')}/enter/{token}"
    typer.echo(msgspec.json.encode({"name": name, "role": role, "link": link}) if as_json else link)


@operator_app.command("list")
def operator_list(as_json: Json = False) -> None:
    """List who may enter."""
    from infra.settings import Settings
    from infra.store.engines import open_store
    from services.console import access

    rows = access.listing(open_store(Settings().home).read)
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        typer.echo(f"{row['name']}  {row['role']}  {'revoked' if row['revoked_at_us'] else 'may enter'}")


@operator_app.command("revoke")
def operator_revoke(name: str, as_json: Json = False) -> None:
    """Let a person in no more, and end the sessions."""
    from infra.settings import Settings
    from services.console import access

    access.revoke(Settings().home, name, time.time_ns() // 1000)
    typer.echo(msgspec.json.encode({"revoked": name}) if as_json else f"{name} may not enter any more")
