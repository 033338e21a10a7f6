"""HTML as text: everything of the user's is escaped here, nothing outside the page is ever asked for."""

import base64
import hashlib
import html
from typing import NamedTuple

from propeller.width import width_of

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --accent: #7fb4ea; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "Malgun Gothic",
  sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; }
.note { opacity: .75; font-size: .9em; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; min-width: 8rem; }
.card b { display: block; font-size: 1.35rem; color: var(--accent); overflow-wrap: anywhere; }
.card span { opacity: .75; font-size: .85em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92em; margin: .3rem 0 .8rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; min-width: 7rem; }
th { background: var(--soft); white-space: nowrap; }
td.s, th.s, td.n, th.n { white-space: nowrap; min-width: 3rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
table.sortable th { cursor: pointer; }
table.sortable th::after { content: " \\2195"; opacity: .35; }
td.t { min-width: 16rem; max-width: 38rem; white-space: pre-wrap; }
img { max-width: min(100%, 54rem); height: auto; background: #fff; border-radius: .4rem; padding: .3rem; }
pre { background: var(--soft); border-radius: .4rem; padding: .7rem; overflow-x: auto; font-size: .9em; }
summary { cursor: pointer; color: var(--accent); }
"""
# A click on the head of a table sorts its rows.
SCRIPT = """
document.querySelectorAll('table.sortable').forEach(function (table) {
  table.querySelectorAll('th').forEach(function (head, column) {
    var down = head.className === 'n';
    head.addEventListener('click', function () {
      var body = table.tBodies[0], rows = Array.from(body.rows);
      rows.sort(function (a, b) {
        var x = a.cells[column].textContent, y = b.cells[column].textContent;
        var n = parseFloat(x.replace(/,/g, '')) - parseFloat(y.replace(/,/g, ''));
        var order = isNaN(n) ? x.localeCompare(y) : n;
        return down ? -order : order;
      });
      rows.forEach(function (row) { body.appendChild(row); });
      down = !down;
    });
  });
});
"""


_SHORT, _SHORT_NAME = 12, 28  # columns of a cell that stays on one line, and of one in the first column
_LEAST_SCALE = 0.6  # of a picture: its letters are no smaller, on a narrow page it is moved sideways


class Raw(NamedTuple):
    """Text that is HTML already."""

    text: str


def escape(value):
    """A value as HTML: a `Raw` as it is, all else as text."""
    return value.text if isinstance(value, Raw) else html.escape(str(value), quote=True)


def page(title, parts):
    """A whole page. parts: list of `Raw`."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    # A browser that keeps to this runs no other script and asks for nothing, whatever stands in the texts.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    body = '\n'.join(part.text for part in parts if part.text)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n'
        f'<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def tag(name, content, **attributes):
    """An element. content: text or `Raw`. attributes: `class_` stands for class."""
    given = ''.join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items() if value)
    return Raw(f'<{name}{given}>{escape(content)}</{name}>')


def joined(*parts):
    """Elements one after the other."""
    return Raw('\n'.join(part.text for part in parts if part and part.text))


def heading(text, level=2):
    return tag(f'h{level}', text)


def note(text):
    return tag('p', text, class_='note')


def code(text):
    return tag('pre', text)


def folded(title, content):
    """What is shown when its title is clicked."""
    return Raw(f'<details><summary>{escape(title)}</summary>\n{escape(content)}\n</details>')


def cards(pairs):
    """Large facts beside each other: list of (what, value)."""
    inner = ''.join(f'<div class="card"><b>{escape(b)}</b><span>{escape(a)}</span></div>' for a, b in pairs if b)
    return Raw(f'<div class="cards">{inner}</div>')


def table(rows, head=(), sortable=False, texts=()):
    """A table; numbers stand to the right.

    Args:
        rows: lists of cells: numbers, texts or `Raw`.
        head: names of the columns; () for none.
        sortable: whether a click on the head sorts it.
        texts: numbers of the columns that hold long texts.
    """
    rows = [list(row) for row in rows]
    count = len(head) or (len(rows[0]) if rows else 0)
    styles = ['t' if c in texts else _style([row[c] for row in rows], c == 0) for c in range(count)]
    top = f'<thead>{_row("th", head, styles)}</thead>' if head else ''
    body = '\n'.join(_row('td', map(_shown, row), styles) for row in rows)
    kind = ' class="sortable"' if sortable and len(rows) > 1 else ''
    return Raw(f'<div class="wide"><table{kind}>{top}<tbody>\n{body}\n</tbody></table></div>')


def _row(kind, cells, styles):
    inner = ''.join(tag(kind, cell, class_=style).text for cell, style in zip(cells, styles, strict=True))
    return f'<tr>{inner}</tr>'


def _style(cells, is_first):
    """The class of a column: n for numbers, s for what is short enough for one line."""
    if all(map(_is_number, cells)):
        return 'n'
    most = _SHORT_NAME if is_first else _SHORT
    return 's' if all(width_of(str(_shown(cell))) <= most for cell in cells) else ''


def _is_number(cell):
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _shown(cell):
    if isinstance(cell, float):
        return f'{cell:.4f}' if abs(cell) < 1000 else f'{cell:,.1f}'
    return f'{cell:,}' if _is_number(cell) else cell


def picture(content, text):
    """A PNG inside the page; nothing where there is none. text: what it shows."""
    if not content:
        return Raw('')
    data, width = base64.b64encode(content).decode(), int.from_bytes(content[16:20], 'big')
    style = f'min-width: {round(_LEAST_SCALE * width)}px'
    return Raw(f'<p class="wide"><img alt="{escape(text)}" style="{style}" src="data:image/png;base64,{data}"></p>')
