"""Write a simulated shop to disk: what it would have sent us, and the truth in a sidecar that no flow reads."""

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import Progress

from models.simulator import ShopConfig, Simulation, public_columns, simulate

_CHUNK: Final = 20_000
_encoder: Final = msgspec.json.Encoder()


def truth_path(out: Path) -> Path:
    """Where the truth of an event file lies.

    Examples
    --------
    >>> truth_path(Path("shop.jsonl")).name
    'shop.truth.jsonl'
    """
    return out.with_name(f"{out.stem}.truth.jsonl")


def write_shop(config: ShopConfig, out: Path, progress: bool = True) -> dict[str, int]:
    """Simulate a shop and write its events as JSON lines, each an event of ``POST /v1/events``, in time order.

    The sidecar's first line is ``{"parameters": …}``, then one line per event: `event_id`, `intent`, `p_purchase`,
    `signal`, `price_sensitivity`.
    Equal configurations write equal bytes.

    Parameters
    ----------
    out
        File to write; replaced if it exists. Its folder must exist.
    progress
        Show a progress bar on stderr when that is a terminal.

    Returns
    -------
    Counts ``events``, ``sessions``, ``users``, ``purchases``.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    if not out.parent.is_dir():
        raise FileNotFoundError(f"no folder {out.parent} to write {out.name} to: create it, or choose another --out")
    with Progress(console=Console(stderr=True), disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("simulate", total=None)
        shop = simulate(config)
        bar.update(task, total=2 * len(shop.events))
        header = [{"parameters": shop.parameters}]
        for path, lines in ((out, _event_lines(shop)), (truth_path(out), chain(header, _truth_lines(shop)))):
            with path.open("wb") as file:
                while chunk := list(islice(lines, _CHUNK)):
                    file.write(_encoder.encode_lines(chunk))
                    bar.advance(task, len(chunk))
    kinds = shop.events["event_type"]
    return {
        "events": len(shop.events),
        "sessions": shop.events["session_id"].nunique(),
        "users": shop.events["user_id"].nunique(),
        "purchases": int((kinds == "purchase").sum()),
    }


def _event_lines(shop: Simulation) -> Iterator[object]:
    return _rows("Event", public_columns(shop.events, shop.timezones))


def _truth_lines(shop: Simulation) -> Iterator[object]:
    return _rows("Truth", {name: shop.truth[name].tolist() for name in shop.truth.columns})


def _rows(name: str, columns: dict[str, list[Any]]) -> Iterator[object]:
    """One object per row, whose JSON leaves out what is None: a struct takes a third of a dictionary's time."""
    row = msgspec.defstruct(name, [(column, Any, None) for column in columns], omit_defaults=True, gc=False)
    return map(row, *columns.values())
