"""Commands about a home as a whole: kept in a folder, made from one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.backup import Kept

app = typer.Typer()
Folder = Annotated[Path, typer.Argument(metavar="FOLDER")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("backup")
def backup_command(folder: Folder, as_json: Json = False) -> None:
    """Keep the home in an empty or new folder, while it is served: store, keys, models, features, reports."""
    from infra.backup import backup
    from infra.settings import Settings

    _tell("kept in", folder, backup(Settings().home, folder), as_json)


@app.command("restore")
def restore_command(folder: Folder, as_json: Json = False) -> None:
    """Make the home, which must be empty or not there, from a backup."""
    from infra.backup import restore
    from infra.settings import Settings

    _tell("restored from", folder, restore(folder, Settings().home), as_json)


def _tell(done: str, folder: Path, kept: "Kept", as_json: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(msgspec.json.encode(kept._asdict()))
    else:
        typer.echo(f"{done} {folder}: revision {kept.revision}, {kept.files} files, {kept.bytes / 2**20:.1f} MiB")
