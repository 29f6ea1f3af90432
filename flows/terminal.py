"""Terminal: results for programs go to stdout, everything for people to stderr; shared by the commands of the flows."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AlwaysJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs, as this command always does.")]


def home() -> Path:
    """The home that the environment names, made if it is missing."""
    from infra.settings import Settings, prepare

    return prepare(Settings().home)


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    typer.echo(msgspec.json.encode(value))


def say(text: str) -> None:
    """A line for a person, on stderr."""
    typer.echo(text, err=True)
