"""Open a file of events and read it in chunks that fit in memory: plain or packed, text or typed, as the first bytes tell."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, cast

from flows.columnar import MAGIC, columnar
from flows.files import is_of_events
from flows.other_kinds import HEAD_BYTES, refuse_other_kinds
from flows.parse import Batch, EmptyFileError
from flows.parse_csv import csv_parser
from flows.parse_json import json_parser
from flows.unwrap import in_lines, is_spread
from models.events.sources import Source

BLOCK_BYTES: Final = 2 << 20  # of text per chunk
UTF_8: Final = "utf-8"
BUFFER_BYTES: Final = 256 << 10  # of unpacked text
MAX_LINE_BYTES: Final = 8 << 20
MOST_WRAPPINGS: Final = 3  # a packed file inside a packed file, and so on
_BROKEN: Final = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
_PACKED: Final = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}


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
        If it is not of the format, or a packed file breaks off; chunks before the break have been yielded then.
    """
    with open_file(path) as file:
        if file.peek(4)[:4] in MAGIC:
            yield from columnar(path, source)
            moved(path.stat().st_size)
        else:
            yield from _text(path, file, source, moved, block_bytes)


def open_file(path: Path) -> BufferedReader:
    """Open a file, or say in one line why not."""
    try:
        return BufferedReader(path.open("rb", buffering=0), BUFFER_BYTES)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {path}: give the path of a file of events") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path} is a folder: give the path of a file of events") from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read by this user: change its permissions") from error


def _text(path: Path, file: BufferedReader, source: Source, moved: Callable[[int], None], block_bytes: int) -> Iterator[Batch]:
    line, parse = 1, None
    for block in text_blocks(path.name, file, block_bytes, source.encoding):
        if parse is None:
            parse = csv_parser(path.name, source) if source.container == "csv" else json_parser(path.name, source)
        batch = parse(block, line)
        yield batch
        moved(file.tell())
        line += block.count(b"\n")
    if parse is None:
        raise EmptyFileError(f"{path.name} is empty: it holds no events")


def text_blocks(name: str, file: BufferedReader, block_bytes: int, encoding: str = UTF_8) -> Iterator[bytes]:
    """Blocks of whole lines of a text file as UTF-8, unpacked, without a byte order mark, old line ends as new ones.

    Of JSON that is written over many lines each document becomes a line.
    """
    stream = _one_a_line(_in_utf_8(unpacked(name, file), encoding))
    first = True
    for block in blocks(stream, name, block_bytes):
        yield block.removeprefix(b"\xef\xbb\xbf") if first else block
        first = False


class _Unpacked(io.RawIOBase):
    """What a packed stream gives, piece by piece, so that what comes before damage is not lost with it."""

    def __init__(self, read: Callable[[int], bytes], kind: str) -> None:
        self._read = read
        self.kind = kind

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def unpacked(name: str, file: BufferedReader) -> BufferedReader:
    """The text inside a file that is packed by gzip, bzip2, xz, zstd, or as the only file of a zip archive."""
    stream = file
    for _ in range(MOST_WRAPPINGS + 1):
        try:
            head = stream.peek(6)[:6]
        except _BROKEN:
            return stream  # said when it is read
        kind = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
        if kind is None:
            refuse_other_kinds(name, stream.peek(HEAD_BYTES)[:HEAD_BYTES])
            return stream
        stream = BufferedReader(_Unpacked(_reader(name, stream, kind), kind), BUFFER_BYTES)
    raise ValueError(f"{name} is packed more than {MOST_WRAPPINGS} times: unpack it")


def _reader(name: str, stream: BufferedReader, kind: str) -> Callable[[int], bytes]:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=stream).read1
    if kind == "bzip2":
        return bz2.BZ2File(stream).read1
    if kind == "xz":
        return lzma.LZMAFile(stream).read1
    return _zstd(stream) if kind == "zstd" else _only_member(name, stream)


def _zstd(stream: BufferedReader) -> Callable[[int], bytes]:
    import pyarrow as pa

    inner = pa.CompressedInputStream(stream, "zstd")

    def read(n_bytes: int) -> bytes:
        try:
            return bytes(inner.read(n_bytes))
        except OSError as error:
            raise EOFError(str(error)) from error

    return read


def _in_utf_8(stream: BufferedReader, encoding: str) -> BufferedReader:
    """A stream in another encoding as UTF-8; UTF-16 is told by its byte order mark."""
    try:
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
    except _BROKEN:
        return stream  # said when it is read
    encoding = _wide(head) or encoding
    if encoding == UTF_8:
        return stream
    decoder = codecs.getincrementaldecoder(encoding)("replace")

    def read(n_bytes: int) -> bytes:
        while data := stream.read1(n_bytes // 4):
            if text := decoder.decode(data):
                return text.encode()
        return decoder.decode(b"", final=True).encode()

    return BufferedReader(_Unpacked(read, encoding), BUFFER_BYTES)


def _one_a_line(stream: BufferedReader) -> BufferedReader:
    try:
        is_json = is_spread(stream.peek(BUFFER_BYTES))
    except _BROKEN:
        return stream  # said when it is read
    return (
        BufferedReader(_Unpacked(in_lines(stream), getattr(stream.raw, "kind", "packed")), BUFFER_BYTES) if is_json else stream
    )


def _wide(head: bytes) -> str | None:
    """Encoding of several bytes a letter, told by its byte order mark or by where its zeros are; None for another.

    Examples
    --------
    >>> _wide("user,time".encode("utf-16")), _wide("user,time".encode("utf-16-be")), _wide(b"user,time")
    ('utf-16', 'utf-16-be', None)
    """
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    zeros = {at: head[at::2].count(0) for at in (0, 1)}
    most, n = max(zeros, key=lambda at: zeros[at]), len(head) // 2
    if n > 2 and zeros[most] > 0.6 * n and zeros[1 - most] == 0:  # more than half of a text in Latin letters
        return "utf-16-be" if most == 0 else "utf-16-le"
    return None


def _only_member(name: str, stream: BufferedReader) -> Callable[[int], bytes]:
    try:
        archive = zipfile.ZipFile(stream if stream.seekable() else io.BytesIO(stream.read()))
        members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
        if any(one.filename.startswith("xl/") for one in members):
            raise ValueError(f"{name} is a workbook: save its sheet as CSV UTF-8")
        if len(members) != 1:
            members = [one for one in members if is_of_events(one.filename)] or members
        if len(members) != 1:
            raise ValueError(f"{name} is a zip archive of {len(members)} files: unpack it, and give the folder")
        member: Any = archive.open(members[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:  # among them a password
        raise ValueError(f"{name} is a zip file that cannot be opened: unpack it, or pack it with gzip") from error
    return cast("Callable[[int], bytes]", member.read1)


def blocks(stream: BufferedReader, name: str, block_bytes: int) -> Iterator[bytes]:
    """Cut a stream into blocks of whole lines, about `block_bytes` each; what a broken packed file still gave comes first."""
    kept, broken, more, old_mac = bytearray(), None, True, None
    while more:
        try:
            data = stream.read1(block_bytes)
        except _BROKEN as error:
            data, broken = b"", error
        more = bool(data)
        if old_mac is None and data:
            old_mac = b"\n" not in data and b"\r" in data.rstrip(b"\r")
        kept += data.replace(b"\r", b"\n") if old_mac else data
        if more and len(kept) < block_bytes:
            continue
        cut = kept.rfind(b"\n") + 1 if more or broken else len(kept)
        if cut:
            yield bytes(kept[:cut])
            del kept[:cut]
        if len(kept) > MAX_LINE_BYTES:
            raise ValueError(f"{name} has a line of more than {MAX_LINE_BYTES >> 20} MiB: one row per line is expected")
    if broken is not None:
        kind = getattr(stream.raw, "kind", "packed")
        raise ValueError(
            f"{name} is a damaged or truncated {kind} file; the whole lines before the damage are in the log: "
            "fetch the file again and ingest it again, nothing will be doubled"
        ) from broken
