"""Local pages: Great Expectations' Data Docs without what they fetch from elsewhere, to be read without a network.

What the pages fetch is decoration, and the library that fills the table of the first page. Links to it are taken out, and a few
lines of our own fill that table.
"""

import re
from pathlib import Path
from typing import Final

_link: Final = re.compile(r"<link\b[^>]*\bhref=[\"']https?://[^>]*>", re.IGNORECASE)
_script: Final = re.compile(r"<script\b[^>]*\bsrc=[\"']https?://[^>]*>\s*</script>", re.IGNORECASE)
_image: Final = re.compile(r"<img\b[^>]*\bsrc=[\"']https?://[^>]*>", re.IGNORECASE)
_import: Final = re.compile(r"@import\s+(url\()?[\"']?https?://[^;]*;", re.IGNORECASE)
_OWN: Final = """<style>
body { font-family: system-ui, sans-serif; margin: 1rem; } table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top; }
.modal, .d-none, nav .navbar-toggler, [class*="ge-newsletter"] { display: none; }
</style>
<script>
(function () {
  function fill(table, told) {
    var columns = told.columns.filter(function (one) { return one.visible !== false && one.title; });
    var head = table.createTHead().insertRow(), body = table.createTBody();
    columns.forEach(function (one) { head.appendChild(document.createElement("th")).textContent = one.title; });
    told.data.forEach(function (row) {
      var line = body.insertRow();
      columns.forEach(function (one) { line.insertCell().innerHTML = row[one.field] == null ? "" : row[one.field]; });
    });
  }
  function found(selector) {
    var own = {bootstrapTable: function (told) {
      var table = typeof selector === "string" && document.querySelector(selector);
      if (table && told && told.data) { fill(table, told); }
      return all;
    }};
    var all = new Proxy(own, {get: function (them, name) { return them[name] || function () { return all; }; }});
    return all;
  }
  window.$ = window.jQuery = found;
  window.vegaEmbed = function () { return Promise.resolve(); };
})();
</script>
</head>"""


def make_local(pages: Path) -> None:
    """Rewrite all pages and styles of a folder so that they fetch nothing."""
    for page in pages.rglob("*.html"):
        page.write_text(without_network(page.read_text(encoding="utf-8")), encoding="utf-8")
    for styles in pages.rglob("*.css"):
        styles.write_text(_import.sub("", styles.read_text(encoding="utf-8")), encoding="utf-8")


def without_network(page: str) -> str:
    """A page without styles, scripts and images of elsewhere.

    Examples
    --------
    >>> told = '<head><script src="https://cdn.example/x.js"></script><link href="static/a.css"></head><p>a'
    >>> local = without_network(told)
    >>> "cdn.example" in local, '<link href="static/a.css">' in local, local.endswith("</head><p>a")
    (False, True, True)
    """
    for fetched in (_link, _script, _image, _import):
        page = fetched.sub("", page)
    return page.replace("</head>", _OWN, 1)
