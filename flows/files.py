"""Files that the words of a command mean: paths, folders, patterns, and ``-`` for standard input."""

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import Final

STDIN: Final = "-"
# Ends of names that are read inside a folder; a file that is named itself may be called anything.
ENDS: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")
PACKED: Final = (".gz", ".zip", ".zst", ".bz2", ".xz")


@contextmanager
def files_of(words: Sequence[str]) -> Iterator[list[Path]]:
    """Files in the order of the words, those of a folder or a pattern by name; standard input becomes a file while this lasts.

    Raises
    ------
    FileNotFoundError
        If a word means no file.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = [path for word in words for path in _files(word, Path(folder))]
        yield list(dict.fromkeys(found))


def _files(word: str, folder: Path) -> list[Path]:
    if word == STDIN:
        path = folder / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return [path]
    path = Path(word)
    if path.is_dir():
        if found := sorted(one for one in path.rglob("*") if _is_of_events(one, path)):
            return found
        raise FileNotFoundError(f"the folder {word} holds no file that ends in {', '.join(ENDS)}, packed or not")
    if not path.exists() and has_magic(word):
        start = Path(path.anchor)
        if matched := sorted(one for one in start.glob(str(path.relative_to(start))) if one.is_file()):
            return matched
        raise FileNotFoundError(f"no file matches {word}")
    return _unzipped(path, folder) or [path]


def _is_of_events(path: Path, below: Path) -> bool:
    return path.is_file() and is_of_events(path.relative_to(below).as_posix())


def is_of_events(path: str) -> bool:
    """Whether a name in a folder or an archive is one of a file of events: by its end, and not hidden.

    Examples
    --------
    >>> [is_of_events(path) for path in ("2024/a.csv.gz", "_SUCCESS", "x/.part-0.csv.crc", "README.md")]
    [True, False, False, False]
    """
    hidden = any(part.startswith((".", "_", "readme", "license")) for part in path.lower().split("/"))
    name = path.lower()
    for end in PACKED:
        name = name.removesuffix(end)
    return not hidden and name.endswith(ENDS)


_LOCKED: Final = 1  # flag of a member with a password


def _unzipped(path: Path, folder: Path) -> list[Path]:
    """The files of events in a zip archive of several, in the order of their names, unpacked; none for any other file."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        infos = [one for one in archive.infolist() if not one.is_dir() and is_of_events(one.filename)]
        members = sorted(one.filename for one in infos)
        if len(members) < 2 or any(one.flag_bits & _LOCKED for one in infos):
            return []  # what is wrong with it is said when it is read
        found = []
        for number, name in enumerate(members):
            place = folder / f"{path.name}-{number}"
            place.mkdir()
            found.append(place / Path(name).name)
            with archive.open(name) as packed, found[-1].open("wb") as file:
                shutil.copyfileobj(packed, file)
        return found
