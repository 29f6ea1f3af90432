"""Parser of a block of lines of JSON: an object a line, a list (an event a line, or as a whole), or one after another."""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from flows.parse import Batch, FormatError, Unreadable, flat_batch, lines_of
from models.events.json_text import with_whole_characters
from models.events.sources import Source
from models.events.sources.opened import is_bulk_action, without_envelope

_DECODER: Final = msgspec.json.Decoder()


def json_parser(name: str, source: Source) -> Callable[[bytes, int], Batch]:
    def parse(block: bytes, first: int) -> Batch:
        documents, lines, unreadable = _documents(block, first)
        if first == 1 and not documents and unreadable:
            documents = whole_documents(block)
            lines, unreadable = [1] * len(documents), [] if documents else unreadable
        if any(map(is_bulk_action, documents)):
            rows = [(one, line) for one, line in zip(documents, lines, strict=True) if not is_bulk_action(one)]
            documents, lines = [one for one, _ in rows], [line for _, line in rows]
        documents, lines = _without_envelopes(documents, lines, source)
        if first == 1 and not documents and unreadable and not unreadable[0].text.lstrip("\x1e [").startswith("{"):
            raise FormatError(f"{name} is no {source.name} file: expected JSON lines, one object a line")
        return flat_batch(documents, lines, source, unreadable)

    return parse


def _without_envelopes(documents: list[Any], lines: list[int], source: Source) -> tuple[list[Any], list[int]]:
    """Documents with the rows of an envelope in its place, and their lines; what has the fields of the source is none."""
    needs = frozenset(source.needs)
    if needs and all(needs <= one.keys() and type(one[source.needs[0]]) not in (dict, list) for one in documents):
        return documents, lines
    groups = [[one] if _is_row(one, source) else without_envelope(one) or [_named(one, source)] for one in documents]
    if len(documents) == sum(map(len, groups)):
        return [one for group in groups for one in group], lines
    return [one for group in groups for one in group], [n for group, n in zip(groups, lines, strict=True) for _ in group]


def _is_row(document: Any, source: Source) -> bool:
    """Whether a document has the fields of a source, and not a column of them each; by a map, most of its columns."""
    if source.own is not None:
        return 2 * sum(path.split(".")[0] in document for path in source.reads) > len(source.reads)
    given = [document[name] for name in source.needs if name in document]
    return len(given) == len(source.needs) and any(not isinstance(value, dict | list) for value in given)


def _named(document: dict[str, Any], source: Source) -> dict[str, Any]:
    """A document with the fields' names as the source writes them, where only capitals differ."""
    names = {name.casefold(): name for name in (*source.needs, *source.columns)}
    if not all(name in {key.casefold() for key in document} for name in map(str.casefold, source.needs)):
        return document
    return {names.get(key.casefold(), key.lower() if key.isupper() else key): value for key, value in document.items()}


def _documents(block: bytes, first: int) -> tuple[list[Any], list[int], list[Unreadable]]:
    n_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        found = _DECODER.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = []
    if len(found) == n_lines and all(type(document) is dict for document in found):
        return found, list(range(first, first + n_lines)), []
    texts, numbers, unreadable = lines_of(block, first)
    documents, lines = [], []
    for text, line in zip(texts, numbers, strict=True):
        objects = _objects(text)
        if objects is None:
            unreadable.append(Unreadable(line, text.rstrip("\r"), "the line must be one JSON object"))
        else:
            documents.extend(objects)
            lines.extend([line] * len(objects))
    return documents, lines, unreadable


def documents_of(block: bytes) -> list[dict[str, Any]]:
    """The objects in a block of lines, those of envelopes too."""
    documents = (one for one in _documents(block, 1)[0] if not is_bulk_action(one))
    return [row for one in documents for row in without_envelope(one) or [one]]


def _objects(text: str) -> list[dict[str, Any]] | None:
    """The objects of a line: one (perhaps of a list that spans the lines), those of a whole list, or several in a row."""
    text = text.strip("\x1e\r\n\t ")
    if text in _OF_A_LIST:
        return []
    inner = text.rstrip(",")
    for whole in (inner, inner.removeprefix("["), inner.removesuffix("]"), inner.removeprefix(",")):
        found = _decoded_json(whole.strip())
        if isinstance(found, str) and found[:1] == "{":  # JSON as a text of JSON
            found = _decoded_json(found)
        if isinstance(found, dict):
            return [found]
        if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
            return found
    return _one_after_another(inner) or None


_OF_A_LIST: Final = frozenset({"[", "]", "],", ",", "[]"})


def _decoded_json(text: str) -> Any:
    try:
        try:
            return _DECODER.decode(text)
        except msgspec.DecodeError:
            return _DECODER.decode(with_whole_characters(text.encode()))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_PYTHON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _one_after_another(text: str) -> list[dict[str, Any]]:
    """Objects that follow each other without a comma; none if anything else is among them."""
    found, at = [], 0
    while at < len(text):
        if text[at].isspace() or text[at] in "\x1e,":
            at += 1
            continue
        if text[at] != "{":
            return []
        try:
            document, at = _PYTHON.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        found.append(document)
    return found


def whole_documents(block: bytes) -> list[dict[str, Any]]:
    """Objects of a file that is written over several lines each, if it fits in one block; else none."""
    try:
        text = block.decode("utf-8-sig").strip("\x1e \r\n\t")
    except UnicodeDecodeError:
        return []
    found = _decoded_json(text)
    if isinstance(found, list):
        return found if all(isinstance(one, dict) for one in found) else []
    return [found] if isinstance(found, dict) else _one_after_another(text)
