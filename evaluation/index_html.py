"""The index page as HTML, in the style of the report page; all text is escaped, all links are relative."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from evaluation.index_entries import Entry, FieldEntry, Unfinished, totals

STYLE = Path(__file__).resolve().parents[1] / "query" / "report_page" / "page.css"
OWN_STYLE = """
.models { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px; margin-top: 18px; }
.model { border-radius: 14px; overflow: hidden; background: var(--card); box-shadow: var(--shade); }
.model .strip { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 2px; min-height: 96px; }
.model .strip img { width: 100%; height: 110px; object-fit: cover; display: block; }
.model .text { padding: 14px 18px 16px; }
.model h3 { margin: 0 0 4px; font-size: 16px; overflow-wrap: anywhere; }
.model p { margin: 4px 0 0; overflow-wrap: anywhere; }
a { color: var(--accent); }
@media (prefers-color-scheme: dark) { :root {
  color-scheme: dark; --paper: #14151a; --card: #1d1f26; --ink: #ecedf0; --soft: #9a9da8; --line: #2d3039; --accent: #8ea2ff;
  --good: #4cc38a; --bad: #ff7a70;
} }
"""


def page(entries: Sequence[Entry], unfinished: Sequence[Unfinished]) -> str:
    """The whole page: totals, failed jobs, one card for each model, and one table of the figures."""
    finished, hours = totals(entries)
    tiles = [
        (str(finished), f"of {len(entries)} models finished"),
        (str(len(unfinished)), "failed jobs"),
        (_hours(hours), "computed"),
    ]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>All scenes</title>\n<style>{STYLE.read_text(encoding='utf-8')}{OWN_STYLE}</style>\n</head>\n<body>",
        "<header><div><h1>All scenes</h1></div></header>",
        '<section class="tiles">' + "".join(f'<div class="tile"><b>{b}</b><span>{text}</span></div>' for b, text in tiles),
        "</section>",
    ]
    if unfinished:
        parts.append(_failed(unfinished))
    parts.append('<section><h2>Models</h2><div class="models">')
    parts += [_card(entry) for entry in entries]
    parts.append("</div></section>")
    parts.append(_figures(entries))
    return "\n".join([*parts, "</body>\n</html>\n"])


def _failed(unfinished: Sequence[Unfinished]) -> str:
    rows = "".join(
        f'<tr><td class="words">{_link(job.job, job.log)}</td><td class="words">{escape(job.reason)}</td></tr>'
        for job in unfinished
    )
    return f'<section><h2 class="bad">Failed</h2><div class="scroll tall"><table>{rows}</table></div></section>'


def _card(entry: Entry) -> str:
    images = "".join(
        f'<img loading="lazy" src="{_url(picture.path)}" alt="{escape(picture.phrase)}" title="{escape(picture.phrase)}">'
        for picture in entry.pictures
    )
    facts = [f"{entry.psnr:.1f} dB"] if entry.psnr is not None else []
    facts += [f"{entry.gaussians:,} Gaussians"] if entry.gaussians is not None else []
    facts += [_hours(entry.seconds / 3600)] if entry.seconds else []
    lines = [f'<p class="note">{" · ".join(facts)}</p>'] if facts else []
    lines += [f"<p>{_field(field)}</p>" for field in entry.fields]
    if entry.links:
        lines.append("<p>" + " · ".join(_link(title, path) for title, path in entry.links) + "</p>")
    if entry.problem:
        lines.append(f'<p class="bad">{escape(entry.problem)}</p>')
    state = "" if entry.state == "finished" else f' <span class="note">{escape(entry.state)}</span>'
    return (
        f'<article class="model"><div class="strip">{images}</div><div class="text"><h3>{escape(entry.name)}{state}</h3>'
        + "".join(lines)
        + "</div></article>"
    )


def _field(field: FieldEntry) -> str:
    figures = "".join(f", {escape(title)} {value:.2f}" for title, value in field.figures.items())
    name = _link(field.name, field.report) if field.report else escape(field.name)
    return f'{name} <span class="note">{escape(field.state)}{figures}</span>'


def _figures(entries: Sequence[Entry]) -> str:
    titles = list(dict.fromkeys(title for entry in entries for field in entry.fields for title in field.figures))
    heading = ["model", "field", "PSNR, dB", "Gaussians", *titles, "hours"]
    cells = "".join(f'<th class="words" style="padding:10px 16px">{escape(name)}</th>' for name in heading)
    rows = []
    for entry in entries:
        for field in entry.fields:
            values = [f"{field.figures[title]:.3f}" if title in field.figures else "-" for title in titles]
            psnr = "-" if entry.psnr is None else f"{entry.psnr:.2f}"
            count = "-" if entry.gaussians is None else f"{entry.gaussians:,}"
            row = [psnr, count, *values, f"{entry.seconds / 3600:.2f}"]
            name = _link(field.name, field.report) if field.report else escape(field.name)
            rows.append(
                f'<tr><td class="words">{escape(entry.name)}</td><td class="words">{name}</td>'
                + "".join(f'<td class="words">{value}</td>' for value in row)
                + "</tr>"
            )
    return (
        f'<section><h2>Figures</h2><div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _link(text: str, path: str) -> str:
    return f'<a href="{_url(path)}">{escape(text)}</a>'


def _url(path: str) -> str:
    return escape(quote(path), quote=True)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
