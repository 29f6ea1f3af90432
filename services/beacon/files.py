"""Files of the beacon, as every page may have them: ``/attune/attune.js``, and the word on Global Privacy Control.

They are committed as they are built, so that nothing but Python is needed to serve them.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from services.http.asgi import JSON
from services.http.dispatch import Page

DIST: Final = Path(__file__).parent / "web" / "dist"
SCRIPT: Final = b"text/javascript; charset=utf-8"
FRESH: Final = b"public, max-age=3600, stale-while-revalidate=86400"
GPC: Final = b'{"gpc":true,"lastUpdate":"2026-11-28"}'


def pages() -> dict[str, Page]:
    """Pages by address, read once."""
    scripts = {f"/attune/{name}": _script((DIST / name).read_bytes()) for name in ("attune.js", "attune.mjs")}
    return {**scripts, "/.well-known/gpc.json": Page(JSON, lambda: (200, GPC))}


def _script(body: bytes) -> Page:
    tag = b'"%s"' % sha256(body).hexdigest()[:16].encode()
    headers = (
        (b"cache-control", FRESH),
        (b"etag", tag),
        (b"access-control-allow-origin", b"*"),  # modules are read as other origins' data are
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Page(SCRIPT, lambda: (200, body), headers)
