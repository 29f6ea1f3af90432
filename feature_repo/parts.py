"""The offline tables as folders of Parquet parts, and the list of the parts that count.

A table is a folder ``VIEW.parquet`` of files that are written once; which of them make the table stands in ``tables.json`` near
it, so a run that is killed leaves tables of before: parts that no list names are nobody's. (A home of before has one file under
the folder's name.) A visitor's rows lie in a part or two of the last full fold and in those of later folds that saw something
of them; rows are unique per key and instant over all parts of a table. Whoever takes rows out of a part may write it anew under
the same name.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyarrow import Schema

LIST: Final = "tables.json"
FORMAT: Final = 1


@dataclass(frozen=True)
class Tables:
    """List of the parts that make the tables, and how far they got.

    Attributes
    ----------
    made_by
        Fingerprint of the code that folded: another code folds everything again.
    as_of_us, last_seq
        Nothing later, and no event with a higher number, is in them.
    ahead_seq
        The lowest number of an event up to `last_seq` that had not happened by `as_of_us`; None if there was none.
    folded_at_us
        When the fold began that saw the log last.
    full_at_us, full_first_seq
        When everything was folded last, and the first event that the log had then.
    first_us
        Instant of the earliest event.
    generation
        Number of the fold; names of parts begin with it.
    parts
        Table to its parts, file name to number of rows.
    item_parts_us
        Part of the item table to the instant from which its rows are, ascending.
    """

    made_by: str
    as_of_us: int
    last_seq: int
    ahead_seq: int | None
    folded_at_us: int
    full_at_us: int
    full_first_seq: int
    first_us: int
    generation: int
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    item_parts_us: Mapping[str, int] = field(default_factory=dict)
    format: int = FORMAT

    def n_rows(self) -> dict[str, int]:
        """Rows by table."""
        return {view: sum(parts.values()) for view, parts in self.parts.items()}


def read(folder: Path) -> Tables | None:
    """The list of a folder of tables; None if there is none, or it is of another form."""
    try:
        found: dict[str, Any] = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Tables(**found) if found.get("format") == FORMAT else None


def write(folder: Path, tables: Tables) -> None:
    """Put another list in the place of the one there is."""
    draft = folder / f"{LIST}.draft"
    draft.write_text(json.dumps(asdict(tables)), encoding="utf-8")
    draft.replace(folder / LIST)


def files(table: Path) -> list[Path]:
    """The Parquet files that make a table.

    Parameters
    ----------
    table
        Folder of the table; or the one file that it is.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    if table.is_file():
        return [table]
    listed = read(table.parent)
    names: Sequence[str] = list(listed.parts.get(table.stem, {})) if listed else []
    if not names:
        raise FileNotFoundError(f"there is no table {table}: bring features up to date with attune retrain")
    return [table / name for name in names]


def item_state(folder: Path, generation: int) -> Path:
    """Where the item fold of a generation keeps how far it got."""
    return folder / f"items-{generation:06d}"


def take(folder: Path, drafts: Path, tables: Tables) -> None:
    """Take parts into use: from a folder of drafts to their places, then the list that names them, and away with the others."""
    for view in tables.parts:
        table = folder / f"{view}.parquet"
        if table.is_file():  # of a home of before
            table.unlink()
        table.mkdir(exist_ok=True)
        for file in (drafts / table.name).glob("*.parquet"):
            file.replace(table / file.name)
    state = item_state(folder, tables.generation)
    if state.exists():  # of a run that was killed
        shutil.rmtree(state)
    item_state(drafts, tables.generation).replace(state)
    write(folder, tables)
    sweep(folder, tables)


def sweep(folder: Path, tables: Tables) -> None:
    """Remove what a list does not name."""
    for view, parts in tables.parts.items():
        for file in (folder / f"{view}.parquet").glob("*"):
            if file.name not in parts:
                file.unlink()
    for state in folder.glob(item_state(folder, 0).name.replace("000000", "*")):
        if state != item_state(folder, tables.generation):
            shutil.rmtree(state)


def written(schema: "Schema") -> dict[str, Any]:
    """Settings for writing files of a schema: no dictionary of numbers, which would take longer and more room."""
    import pyarrow as pa

    texts = [one.name for one in schema if pa.types.is_string(one.type)]
    has_lists = any(pa.types.is_list(one.type) for one in schema)
    return {"compression": "zstd", "use_dictionary": has_lists or texts}
