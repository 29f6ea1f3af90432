"""``/docs``: the OpenAPI document as one page that needs nothing from elsewhere."""

import json
from html import escape
from typing import Any, Final

STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:0}section{border-top:1px solid #8886;margin-top:2rem}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{padding:1rem;overflow-x:auto;background:#8881;border-radius:.4rem}
.method{font-weight:700;padding:.1rem .5rem;border-radius:.3rem;background:#2a6a;margin-right:.5rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;border-bottom:1px solid #8883}
nav a{margin-right:1rem}summary{cursor:pointer}
"""


def render(document: dict[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    document
        OpenAPI 3.1 with references into ``components/schemas`` only.
    """
    info = document["info"]
    calls = [(path, method, call) for path, methods in document["paths"].items() for method, call in methods.items()]
    links = "".join(
        f'<a href="#{escape(call["operationId"])}">{escape(method.upper())}&nbsp;{escape(path)}</a> '
        for path, method, call in calls
    )
    parts = [_call(path, method, call) for path, method, call in calls]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])}</h1><p>{'</p><p>'.join(escape(info['description']).split(chr(10) * 2))} "
        f'Machine-readable: <a href="openapi.json">openapi.json</a>.</p><nav>{links}</nav>'
        f"{''.join(parts)}<section><h2>Schemas</h2>{''.join(schemas)}</section></html>"
    )


def _call(path: str, method: str, call: dict[str, Any]) -> str:
    body = call.get("requestBody", {}).get("content", {}).get("application/json")
    request = ""
    for parameter in call.get("parameters", ()):
        told = f"{_type(parameter['schema'])} {escape(parameter.get('description', ''))}"
        request += f"<p><code>{escape(parameter['name'])}</code> in the {escape(parameter['in'])}: {told}</p>"
    if body:
        example = json.dumps(body["example"], indent=2)
        request += f"<p>Body: {_type(body['schema'])}</p><pre>{escape(example)}</pre>"
    rows = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(reply['description'])}</td><td>{_contents(reply)}</td></tr>"
        for status, reply in call["responses"].items()
    )
    key = f"<p>{escape(call['description']).replace('`', '')}</p>" if call.get("security") else ""
    return (
        f'<section id="{escape(call["operationId"])}"><h2><span class="method">{escape(method.upper())}</span>'
        f"<code>{escape(path)}</code></h2><p>{escape(call['summary'])}</p>{key}{request}<table>{rows}</table></section>"
    )


def _contents(reply: dict[str, Any]) -> str:
    return ", ".join(
        f"<code>{escape(media)}</code> {_type(content['schema']) if 'schema' in content else ''}"
        for media, content in reply.get("content", {}).items()
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{' *' if field in required else ''}</td><td>{_type(kind)}</td>"
        f"<td>{escape(kind.get('description', ''))}</td></tr>"
        for field, kind in schema.get("properties", {}).items()
    )
    text = escape(schema.get("description", ""))
    title = f"<summary><code>{escape(name)}</code></summary>"
    return f'<details id="schema-{escape(name)}">{title}<p>{text}</p><table>{rows}</table></details>'


def _type(schema: dict[str, Any]) -> str:
    """One line about a schema: its name, or its type with its limits."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}"><code>{name}</code></a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    names = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "format", "default")
    limits = ", ".join(f"{name} {schema[name]}" for name in names if schema.get(name) is not None)
    words = ", ".join(map(str, schema.get("enum", ())))
    return escape(" ".join(filter(None, (str(kind), limits and f"({limits})", words and f": {words}"))))
