"""The `attune` command: put together from what each floor offers under the entry-point group ``attune.commands``.

Neither floor imports the other; `pyproject.toml` names them. The command modules import their frameworks inside the commands,
so ``attune --help`` stays quick. An error that a person can mend is one line on stderr and exit code 2.
"""

import os
import sys
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer

FLOORS = ("models", "infra", "feature_repo", "flows", "services")
MENDABLE = (ValueError, KeyError, OSError)  # among the last, a store that cannot be used


def app() -> typer.Typer:
    """Gather the commands of all floors that are installed."""
    root = typer.Typer(
        name="attune",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    root.callback()(_options)
    for entry in sorted(entry_points(group="attune.commands"), key=lambda e: e.name, reverse=True):
        root.add_typer(entry.load())
    return root


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"attune {version('attune')}")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Live session intent, item associations and engagement signals for online shops."""


def main() -> None:
    """Run one command; translate what a person can mend into one line."""
    os.umask(0o077)  # what a home holds is for its owner
    # Without byte code that is kept every process compiles its libraries anew, seconds of the processor each, and `attune up`
    # has six: it is kept where it is first needed, also where the environment says otherwise (as in many containers).
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # The matrices here are small: BLAS's threads would only wait for each other, and take the cores from whoever works beside.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = app()(standalone_mode=False)  # typer would draw a box around what is wrong with the words
    except typer.TyperException as error:
        sys.stderr.write(f"{usage(error)}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in FLOORS or os.environ.get("ATTUNE_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        sys.stderr.write(f"attune: this needs the package {package}: install Attune with its extras, attune[flows,services]\n")
        sys.exit(2)
    except MENDABLE as error:
        if os.environ.get("ATTUNE_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        sys.stderr.write(f"attune: {one_line(error)}\n")
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def usage(error: Any) -> str:
    """Say in one line what is wrong with the words of a command, or give its help where there were none."""
    said, context = error.format_message(), getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(said)
    return f"attune: {' '.join(said.split()).rstrip('.')}; see: {context.command_path if context else 'attune'} --help"


def one_line(error: BaseException) -> str:
    """Say an error in one line, without Python's decoration of `KeyError`.

    Examples
    --------
    >>> one_line(KeyError("no model called 'x'"))
    "no model called 'x'"
    >>> one_line(ValueError("first\\nsecond"))
    'first second'
    >>> one_line(FileExistsError(17, "File exists", "/srv/attune"))
    'cannot use /srv/attune (File exists); what is wrong, tells: attune doctor'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"cannot use {error.filename} ({error.strerror}); what is wrong, tells: attune doctor"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


if __name__ == "__main__":
    main()
