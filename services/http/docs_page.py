"""Documentation page ``/docs``: the OpenAPI document as one page that needs nothing from elsewhere."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from html import escape
from typing import Any, Final, NamedTuple

import msgspec

from services.http import openapi
from services.http.endpoints import Endpoints, Schemas

HTML: Final = b"text/html; charset=utf-8"
STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1d2733;--soft:#4f5e6d;--line:#8883;--box:#8881;
--link:#2868b0;--get:#2868b0;--put:#96590a;--delete:#b23a48;--post:#227042}
@media(prefers-color-scheme:dark){:root{--paper:#12181f;--ink:#dce4ec;--soft:#a1afbd;
--link:#6cabf2;--get:#6cabf2;--put:#f0a35e;--delete:#f08a95;--post:#6cc48c}}
*{box-sizing:border-box}html,body{background:var(--paper);color:var(--ink)}
body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{margin:0}h2{margin:0 0 .3rem;font-size:1.25rem}section{border-top:1px solid var(--line);margin-top:2rem;padding-top:1.2rem}
p{max-width:46rem;margin:.5rem 0}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
code,pre{font:14px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
pre{padding:.8rem 1rem;overflow-x:auto;background:var(--box);border-radius:.4rem}
.method{font:700 13px ui-monospace,monospace;color:var(--c);display:inline-block;min-width:3.6rem}
.get{--c:var(--get)}.post{--c:var(--post)}.put,.patch{--c:var(--put)}.delete{--c:var(--delete)}
.soft{color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;min-width:50%}
td{text-align:left;padding:.25rem .9rem .25rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
td:first-child{white-space:nowrap}
nav{font-size:.875rem}nav a{display:block;padding:.1rem 0}summary{cursor:pointer}details{margin:.4rem 0}
@media(min-width:64rem){body{display:grid;grid-template-columns:20rem minmax(0,1fr);gap:0 2.5rem}header{grid-column:1/3}
nav{position:sticky;top:1rem;align-self:start;max-height:95vh;overflow-y:auto;margin-top:2rem}}
"""
_CODE: Final = re.compile(r"`([^`]+)`")


class Described(NamedTuple):
    """OpenAPI document of a day, as JSON and as a page."""

    today: date
    document: bytes
    page: bytes


class Documents:
    """Documents about endpoints, made anew where another day has begun.

    Parameters
    ----------
    now_us
        The clock, microseconds since 1970.
    webhooks
        What we send by ourselves.
    """

    def __init__(self, endpoints: Endpoints, now_us: Callable[[], int], webhooks: Schemas | None = None) -> None:
        self._endpoints = endpoints
        self._webhooks = webhooks
        self._now_us = now_us
        self._described: Described | None = None

    def current(self) -> Described:
        """The documents of today."""
        today = datetime.fromtimestamp(self._now_us() / 1e6, UTC).date()
        if self._described is None or self._described.today != today:
            document = openapi.document(self._endpoints, today, self._webhooks)
            self._described = Described(today, msgspec.json.encode(document), render(document).encode())
        return self._described


def render(document: dict[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    document
        OpenAPI 3.1 with references into ``components/schemas`` only.
    """
    info, addresses = document["info"], document["paths"] | document["webhooks"]
    calls = [(path, method, call) for path, methods in addresses.items() for method, call in methods.items()]
    links = "".join(
        f'<a href="#{escape(call["operationId"])}" title="{escape(call["summary"])}">{_method(method)}{escape(path)}</a>'
        for path, method, call in calls
    )
    parts = [_call(path, method, call) for path, method, call in calls]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    told = "".join(f"<p>{_text(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(info['title'])}</h1>{told}"
        f'<p>Machine-readable: <a href="openapi.json">openapi.json</a>.</p></header>'
        f'<nav>{links}<a href="#schemas">Schemas</a></nav>'
        f'<main>{"".join(parts)}<section id="schemas"><h2>Schemas</h2>{"".join(schemas)}</section></main></body></html>'
    )


def _text(words: str) -> str:
    """Prose, escaped, with what stands in backticks as code.

    Examples
    --------
    >>> _text("send `a<b`")
    'send <code>a&lt;b</code>'
    """
    return _CODE.sub(r"<code>\1</code>", escape(words))


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span> '


def _call(path: str, method: str, call: dict[str, Any]) -> str:
    body = call.get("requestBody", {}).get("content", {}).get("application/json")
    told = f'<p class="soft">{_text(call["description"])}</p>' if call.get("security") else ""
    told += _table(
        [f"<code>{escape(p['name'])}</code>", escape(p["in"]), _type(p["schema"]), _text(p.get("description", ""))]
        for p in call.get("parameters", ())
    )
    if body:
        example = escape(json.dumps(body["example"], indent=2))
        told += f'<p>Body: {_type(body["schema"])}</p><pre tabindex="0">{example}</pre>'
    replies = [
        (status, [f"<code>{escape(status)}</code>", _text(reply["description"]), _contents(reply)])
        for status, reply in call["responses"].items()
    ]
    wrong = _table(row for status, row in replies if status >= "400")
    return (
        f'<section id="{escape(call["operationId"])}"><h2>{_text(call["summary"])}</h2>'
        f"<p>{_method(method)}<code>{escape(path)}</code></p>{told}"
        f"<p>Answer:</p>{_table(row for status, row in replies if status < '400')}"
        f"{f'<details><summary>What may go wrong</summary>{wrong}</details>' if wrong else ''}</section>"
    )


def _table(rows: Iterable[list[str]]) -> str:
    """Ready cells as a table that scrolls by itself; nothing without rows."""
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide" tabindex="0" role="region" aria-label="Details"><table>{lines}</table></div>' if lines else ""


def _contents(reply: dict[str, Any]) -> str:
    return ", ".join(
        f"<code>{escape(media)}</code> {_type(content['schema']) if 'schema' in content else ''}"
        for media, content in reply.get("content", {}).items()
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    """Folded; its anchor lies inside, so that a link to it unfolds it."""
    required = set(schema.get("required", ()))
    rows = _table(
        [
            f"<code>{escape(field)}</code>{' *' if field in required else ''}",
            _type(kind),
            _text(kind.get("description", "")),
        ]
        for field, kind in schema.get("properties", {}).items()
    )
    text = _text(schema.get("description", ""))
    text += f" {_type(schema)}" if "anyOf" in schema or "oneOf" in schema else ""
    title = f"<summary><code>{escape(name)}</code></summary>"
    return f'<details>{title}<div id="schema-{escape(name)}"><p>{text}</p>{rows}</div></details>'


def _type(schema: dict[str, Any]) -> str:
    """One line about a schema: its name, or its type with its limits."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(option) for option in options)
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    names = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "format", "default")
    limits = ", ".join(f"{name} {schema[name]}" for name in names if schema.get(name) is not None)
    words = ", ".join(map(str, schema.get("enum", ())))
    return escape(" ".join(filter(None, (str(kind), limits and f"({limits})", words and f": {words}"))))
