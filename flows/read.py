"""Open a file of events and read it in chunks that fit in memory: plain, gzip or Parquet, told apart by their first bytes."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

from flows.parse import Batch, csv_parser, json_parser, parquet
from models.events.sources import Source

BLOCK_BYTES: Final = 2 << 20  # of text per chunk
MAX_LINE_BYTES: Final = 8 << 20
_BROKEN_GZIP: Final = (EOFError, zlib.error, gzip.BadGzipFile)
_OTHERS: Final = {b"PK\x03\x04": "zip", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}


def batches(path: Path, source: Source, moved: Callable[[int], None], block_bytes: int = BLOCK_BYTES) -> Iterator[Batch]:
    """Read a file of a known format.

    Parameters
    ----------
    moved
        Called with the bytes of the file that are behind the reader.
    block_bytes
        Size of the text that is in memory at one time.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ValueError
        If it is not of the format, or a gzip file breaks off; chunks before the break have been yielded then.
    """
    with open_file(path) as file:
        head = file.peek(4)[:4]
        if head.startswith(b"PAR1"):
            yield from parquet(path, source)
            moved(path.stat().st_size)
        else:
            yield from _text(path, file, source, moved, block_bytes)


def open_file(path: Path) -> BufferedReader:
    """Open a file, or say in one line why not."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {path}: give the path of a file of events") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path} is a folder: give the path of a file of events") from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read by this user: change its permissions") from error


def _text(path: Path, file: BufferedReader, source: Source, moved: Callable[[int], None], block_bytes: int) -> Iterator[Batch]:
    head = file.peek(4)[:4]
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise ValueError(f"{path.name} is a {name} file: unpack it, or pack it with gzip")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path.name} is UTF-16: save it as UTF-8")
    packed = head.startswith(b"\x1f\x8b")
    stream: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=file) if packed else file
    parse = csv_parser(path.name, source) if source.container == "csv" else json_parser(path.name, source)
    line = 1
    for block in blocks(stream, path.name, block_bytes):
        batch = parse(block.removeprefix(b"\xef\xbb\xbf") if line == 1 else block, line)
        yield batch
        moved(file.tell())
        line += block.count(b"\n")
    if line == 1 and stream.tell() == 0:
        raise ValueError(f"{path.name} is empty: it holds no events")


def blocks(stream: gzip.GzipFile | BufferedReader, name: str, block_bytes: int) -> Iterator[bytes]:
    """Cut a stream into blocks of whole lines, about `block_bytes` each; what a broken gzip file still gave comes first."""
    kept, broken, more = bytearray(), None, True
    while more:
        try:
            data = stream.read1(block_bytes)
        except _BROKEN_GZIP as error:
            data, broken = b"", error
        more = bool(data)
        kept += data
        if more and len(kept) < block_bytes:
            continue
        cut = kept.rfind(b"\n") + 1 if more or broken else len(kept)
        if cut:
            yield bytes(kept[:cut])
            del kept[:cut]
        if len(kept) > MAX_LINE_BYTES:
            raise ValueError(f"{name} has a line of more than {MAX_LINE_BYTES >> 20} MiB: one row per line is expected")
    if broken is not None:
        raise ValueError(
            f"{name} is a damaged or truncated gzip file; the whole lines before the damage are in the log: "
            "fetch the file again and ingest it again, nothing will be doubled"
        ) from broken
