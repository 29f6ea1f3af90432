"""RFC 9457 problems: what every refusal of the service looks like. A problem never holds a value that the client sent."""

import re
from typing import Final

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]
MEDIA_TYPE: Final = b"application/problem+json"
TITLES: Final = {
    400: "The request cannot be read",
    401: "The key is missing or not valid",
    403: "The key may not do this",
    404: "There is nothing here",
    409: "Not possible in the present state",
    405: "This address does not know the method",
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body must be JSON, plain or gzip, under a type that is read here",
    422: "The request does not fit the contract",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not possible right now",
    504: "It took too long",
}
ANSWER_LATE: Final = "this took too long here; the request may be sent again"
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]")
_MISSING = re.compile(r"required field `(?P<name>\w+)`")
_QUOTED = re.compile(r"(?P<quote>['\"]).*(?P=quote)", re.DOTALL)  # from the first to the last: a value may hold quotes itself
_UNKNOWN = "Object contains unknown field"
_PATTERN = "Expected `str` matching regex"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a refusal.

    Attributes
    ----------
    detail
        One sentence that says what is expected.
    pointer
        JSON pointer (RFC 6901) to the field in the request's body; empty for the whole body.
    request_id
        As in the header ``X-Request-Id``.
    """

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    pointer: str | None = None
    request_id: str | None = None


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """Refusal of a request, raised by whoever finds that it cannot be answered; the guard turns it into the reply."""

    def __init__(self, status: int, detail: str, pointer: str | None = None, headers: Headers = ()):
        super().__init__(detail)
        self.problem = Problem(TITLES[status], status, detail, pointer=pointer)
        self.headers = headers


def of_decoding(error: Exception) -> Refusal:
    """Explain a body that msgspec could not decode.

    Malformed JSON is 400. JSON of another shape is 422 and points to the field.

    Examples
    --------
    >>> of_decoding(msgspec.ValidationError("Expected `float` <= 1.0 - at `$.events[3].scroll_depth`")).problem.pointer
    '/events/3/scroll_depth'
    >>> of_decoding(msgspec.ValidationError("Object missing required field `ts` - at `$.events[0]`")).problem.pointer
    '/events/0/ts'
    """
    if isinstance(error, RecursionError):
        return Refusal(400, "the body is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Refusal(400, "the body is not valid UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, "the body is not valid JSON")
    text = str(error)
    found = _PATH.search(text)
    pointer = json_pointer(found["path"]) if found else ""
    sentence = text[: found.start()] if found else text
    missing = _MISSING.search(sentence)
    if missing:
        pointer = f"{pointer}/{missing['name']}"
    if sentence.startswith(_UNKNOWN):
        return Refusal(422, f"{_UNKNOWN}s", pointer)  # the name is the client's
    if sentence.startswith(_PATTERN):
        return Refusal(422, sentence.replace(r"\\Z", "$"), pointer)  # the quotes hold our own pattern, as Python writes it
    return Refusal(422, _QUOTED.sub("a value", sentence), pointer)


def json_pointer(path: str) -> str:
    """Turn msgspec's path behind ``$`` into a JSON pointer; a step into a mapping (``[...]``) ends it.

    Examples
    --------
    >>> json_pointer(".session_data.events[3].price")
    '/session_data/events/3/price'
    >>> json_pointer("")
    ''
    """
    steps = []
    position = 0
    while (step := _STEP.match(path, position)) is not None:
        steps.append(step["name"] or step["index"])
        position = step.end()
    return "".join(f"/{step}" for step in steps)
