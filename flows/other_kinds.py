"""Files that hold no lines of text: what they are, by their first bytes, and what to do with them."""

import re
from typing import Final

HEAD_BYTES: Final = 512
_UNPACK: Final = "unpack it, and give the folder"
_AS_PARQUET: Final = "write its table as Parquet or CSV"
_AS_CSV: Final = "save its sheet as CSV UTF-8"
# First bytes of a file, what it is, and what to do.
_KINDS: Final = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook of the old form", _AS_CSV),
    (b"SQLite format 3\0", "a SQLite database", "write its table as CSV: sqlite3 -header -csv FILE 'SELECT …'"),
    (b"Obj\x01", "an Avro file", _AS_PARQUET),
    (b"ORC", "an ORC file", _AS_PARQUET),
    (b"\x89HDF", "an HDF5 file", _AS_PARQUET),
    (b"\x80\x03", "a pickle of Python", _AS_PARQUET),
    (b"\x80\x04", "a pickle of Python", _AS_PARQUET),
    (b"\x80\x05", "a pickle of Python", _AS_PARQUET),
    (b"RDX", "a file of R", _AS_PARQUET),
    (b"FEA1", "a Feather file of the first version", _AS_PARQUET),
    (b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "packed by lz4", "unpack it, or pack it with gzip or zstd"),
    (b"\xff\x06\0\0sNaPpY", "packed by snappy", "unpack it, or pack it with gzip or zstd"),
    (b"\x1f\x9d", "packed by compress", "unpack it, or pack it with gzip or zstd"),
    (b"%PDF-", "a PDF file", "export the table behind it as CSV"),
    (b"\x89PNG", "a picture", "export the table that it shows as CSV"),
    (b"<?xml", "an XML file", "export it as CSV or JSON"),
    (b"<!DOCTYPE", "a web page", "download the file itself; a page often means that a login is needed"),
    (b"<!doctype", "a web page", "download the file itself; a page often means that a login is needed"),
    (b"<html", "a web page", "download the file itself; a page often means that a login is needed"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
)
_TAR_AT: Final = 257
# Texts that are no tables, by how they begin.
_TEXTS: Final = (
    (
        re.compile(rb'\S+ \S+ \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8} [+-]\d{4}\] "').match,
        "the log of a web server",
        "its lines are requests, not what visitors did; export events of the shop or of its analytics",
    ),
    (
        re.compile(rb"(?:--|/\*|SET |BEGIN|DROP |USE |CREATE |INSERT )[\s\S]*\b(?:CREATE TABLE|INSERT INTO|COPY \S+ \()").match,
        "an SQL dump",
        "load it into a database, and write its table as CSV",
    ),
    (re.compile(rb"(?:CREATE TABLE|INSERT INTO|COPY \S+ \()").match, "an SQL dump", "write its table as CSV"),
)


def refuse_other_kinds(name: str, head: bytes) -> None:
    """Refuse a file that is no text, in one line that says what it is.

    Raises
    ------
    ValueError
        If its first bytes are those of another kind of file.

    Examples
    --------
    >>> refuse_other_kinds("shop.csv", b"%PDF-1.7")
    Traceback (most recent call last):
    ValueError: shop.csv is a PDF file: export the table behind it as CSV
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \r\n\t")
    found = next(((what, mend) for magic, what, mend in _KINDS if head.startswith(magic) or text.startswith(magic)), None)
    if found is None and head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        found = ("a tar archive", _UNPACK)
    found = found or next(((what, mend) for begins, what, mend in _TEXTS if begins(text)), None)
    if found is not None:
        raise ValueError(f"{name} is {found[0]}: {found[1]}")
