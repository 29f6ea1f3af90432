"""A page that needs nothing else: the frame and the looks of every report, tables, and how numbers are written.

It follows the reader's choice of light or dark, and on a narrow screen a wide table scrolls by itself.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#566576;--line:#dde3ea;--box:#eef3f8;--paper:#fff;
--c0:#2868b0;--c1:#c2600f;--c2:#2b8049;--c3:#8a4fa0;--c4:#66727f;--c5:#b23a48}
@media(prefers-color-scheme:dark){:root{--ink:#dce4ec;--soft:#98a6b5;--line:#2d3945;--box:#1c2631;--paper:#12181f;
--c0:#6cabf2;--c1:#f0a35e;--c2:#6cc48c;--c3:#c79add;--c4:#93a1b0;--c5:#f08a95}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1.5rem 1rem 4rem;
color:var(--ink);background:var(--paper)}
h1{margin:.2rem 0 .6rem}h2{margin:2.6rem 0 .4rem;border-top:1px solid var(--line);padding-top:1.2rem}h3{margin:1.5rem 0 .2rem}
p{max-width:46rem}small,.about{color:var(--soft);font-size:.875rem}a{color:var(--c0)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0}
.verdict{background:var(--box);border-left:4px solid var(--c0);padding:.7rem 1rem;border-radius:4px;max-width:none}
.verdict ul{margin:.4rem 0 0;padding-left:1.1rem}
.wide{overflow-x:auto;margin:.5rem 0 1.2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .75rem .28rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;vertical-align:bottom}.n{text-align:right}td.n{white-space:nowrap}
tbody th{color:inherit;font-weight:400;white-space:nowrap}.sure{font-weight:600}
td.heat{background:color-mix(in srgb,var(--c0) calc(var(--p)*60%),transparent);padding:.28rem .75rem}
figure{margin:.6rem 0 1.2rem}figcaption{font-weight:600}
svg{width:100%;height:auto;max-width:30rem;display:block;font-size:13px}text{fill:var(--soft)}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2rem}
.key{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.1rem 0 0;padding-left:.5rem;font-size:.875rem}
.key i{display:inline-block;width:1.3rem;border-top:3px solid var(--c);vertical-align:middle;margin-right:.35rem}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.curve{fill:none;stroke:var(--c);stroke-width:2}.dot{fill:var(--c)}.area{fill:var(--c);fill-opacity:.2}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}.c1.curve,.key .c1{stroke-dasharray:7 3;border-top-style:dashed}
.c2.curve,.key .c2{stroke-dasharray:2 3;border-top-style:dotted}
.c4.curve,.key .c4{stroke-dasharray:9 3 2 3;border-top-style:double}
.track{position:relative;min-width:13rem;width:45%}.track b,.track i,.track u,.track s{position:absolute;display:block}
.track+.n{padding-left:1.2rem}
.track s{top:0;bottom:0;border-left:1px solid var(--line)}.track s.zero{border-color:var(--soft)}
.track i{top:50%;height:0;border-top:2px solid var(--c)}
.track b{top:50%;width:9px;height:9px;margin:-4px 0 0 -5px;border:2px solid var(--c);border-radius:50%;background:var(--paper)}
.sure .track b{background:var(--c)}th.track u{bottom:.2rem;transform:translateX(-50%);text-decoration:none;font-weight:400}
tr.up{--c:var(--c2)}tr.down{--c:var(--c5)}tr.open{--c:var(--c4)}
@media(max-width:40rem){td,th{white-space:nowrap}}
details{margin:.4rem 0 1rem}summary{cursor:pointer;color:var(--c0)}
"""
_NUMBER: Final = re.compile(r"[+-]?[\d.,]+( ?%)?( (to|\(|\[).*)?")
_SECTION: Final = re.compile(r'<section id="([^"]*)"><h2>([^<]*)</h2>')
Row = Sequence[object]


def document(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page of ready parts; empty ones are left out. The sections are listed above the first of them."""
    body = "\n".join(part for part in parts if part)
    found = _SECTION.findall(body)
    if len(found) > 2:
        links = "".join(f'<a href="#{name}">{text}</a>' for name, text in found)
        body = body.replace('<section id="', f'<nav>{links}</nav>\n<section id="', 1)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A part of the page under a heading; nothing where there is nothing to tell.

    Examples
    --------
    >>> section("Cost per call", "<p>1 ms</p>")
    '<section id="cost-per-call"><h2>Cost per call</h2><p>1 ms</p></section>'
    >>> section("Cost", "")
    ''
    """
    told = "".join(parts)
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f'<section id="{name}"><h2>{escape(title)}</h2>{told}</section>' if told else ""


def verdict(sentence: str, points: Sequence[str] = ()) -> str:
    """What the reader came for, in a box of its own: one sentence, and the figures behind it."""
    told = "".join(f"<li>{escape(point)}</li>" for point in points)
    return f'<div class="verdict"><strong>{escape(sentence)}</strong>{f"<ul>{told}</ul>" if told else ""}</div>'


def about(text: str) -> str:
    """A remark in small letters."""
    return f'<p class="about">{escape(text)}</p>'


def folded(title: str, *parts: str, unfolded: bool = False) -> str:
    """What only some readers want to open; `unfolded` as an example of what is in the others."""
    told = "".join(parts)
    return f"<details{' open' if unfolded else ''}><summary>{escape(title)}</summary>{told}</details>" if told else ""


def beside(*parts: str) -> str:
    """Pictures next to each other where the screen is wide enough."""
    return f'<div class="beside">{"".join(parts)}</div>' if any(parts) else ""


def table(head: Row, rows: Iterable[Row]) -> str:
    """An HTML table, everything escaped; a column of numbers is set flush right. Nothing where there are no rows.

    Examples
    --------
    >>> table(["a"], [[0.5]]).partition("<tbody>")[2], table(["a"], [])
    ('<tr><td class="n">0.500</td></tr></tbody></table></div>', '')
    """
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        return ""
    kinds = [' class="n"' if numeric(column) else "" for column in zip(*cells, strict=True)]
    top = "".join(f"<th{kind}>{cell(value)}</th>" for kind, value in zip(kinds, head, strict=True))
    lines = ("".join(f"<td{kind}>{one}</td>" for kind, one in zip(kinds, row, strict=True)) for row in cells)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def heat(head: Row, rows: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Counts with their share of the row, the larger the darker; such as a confusion matrix."""
    top = "".join(f'<th class="n">{cell(value)}</th>' for value in head[1:])
    lines = []
    for name, counts in rows:
        total = max(sum(counts), 1)
        cells = "".join(f'<td class="n heat" style="--p:{n / total:.2f}">{n:,} ({n / total:.0%})</td>' for n in counts)
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    body = "".join(lines)
    return f'<div class="wide"><table><thead><tr><th>{cell(head[0])}</th>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def numeric(cells: Iterable[str]) -> bool:
    """Whether a column holds numbers only, or nothing.

    Examples
    --------
    >>> numeric(["0.512", "+0.1 [0.0, 0.2]", "", "1 to 2"]), numeric(["0.5", "pass"]), numeric([""])
    (True, False, False)
    """
    said = [one for one in cells if one]
    return bool(said) and all(_NUMBER.fullmatch(one) for one in said)


def cell(value: object) -> str:
    """A value as text: numbers with three digits behind the point and thousands set apart, None as nothing.

    Examples
    --------
    >>> cell(0.12345), cell(1234), cell(1234.5), cell(0.0002), cell(None), cell("<b>")
    ('0.123', '1,234', '1,234', '0.0002', '', '&lt;b&gt;')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def interval(one: Mapping[str, Any] | None) -> str | None:
    """A difference with its bounds; None where it could not be measured.

    Examples
    --------
    >>> interval({"mean": 0.02, "low": -0.01, "high": 0.05})
    '+0.0200 [-0.0100, +0.0500]'
    """
    if not one or None in (one["mean"], one["low"], one["high"]):
        return None
    return f"{one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]"
