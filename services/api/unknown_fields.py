"""Fields of a request that nobody reads: told in `degraded` of the answer, as ``unknown_field:NAME``.

Requests may hold more than we ask for, but ``limmit`` for ``limit`` should not pass in silence. Only the fields at the top are
looked at. A name that may be somebody's id, since it has a digit or another sign, stays unsaid. The names stand in the answer
alone: neither in our log nor among what counts for an experiment.
"""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from services.api.session_data import LARGE_BODY
from services.http.calls import Call
from services.http.endpoints import Endpoint

UNKNOWN: Final = "unknown_field"
MOST: Final = 10  # that an answer names
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_is_name: Final = re.compile(r"[A-Za-z_]{1,40}").fullmatch


def unknown_fields(body: bytes, known: Collection[str]) -> Sequence[str]:
    """Names of fields of a JSON object beside the known ones, as an answer tells them; a name that is none stays unsaid.

    Examples
    --------
    >>> unknown_fields(b'{"user_id": "u", "limmit": 3, "<b>": 1}', {"user_id"})
    ['unknown_field:limmit', 'unknown_field']
    """
    try:
        given = _fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # halves of characters: what was read is another body
        return []
    unknown = [name for name in given if name not in known][:MOST]
    return [f"{UNKNOWN}:{name}" if _is_name(name) else UNKNOWN for name in unknown]


def told_of_unknown(endpoint: Endpoint) -> Endpoint:
    """The same endpoint, whose answer tells of unknown fields; another one where its answer has no place for that."""
    answer, request = endpoint.answer, endpoint.request
    if (
        isinstance(answer, str | None)
        or isinstance(request, str | None)
        or "degraded" not in {field.name for field in msgspec.structs.fields(answer)}
    ):
        return endpoint
    known = frozenset(field.encode_name for field in msgspec.structs.fields(request))

    async def answered(call: Call) -> Any:
        reply = await endpoint.handler(call)
        large = len(call.body) > LARGE_BODY
        unknown = await asyncio.to_thread(unknown_fields, call.body, known) if large else unknown_fields(call.body, known)
        if unknown:
            reply.degraded = [*reply.degraded, *unknown]
        return reply

    return replace(endpoint, handler=answered)
