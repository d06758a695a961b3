"""Figures of the catalogue as text for the book."""

import html
import re
from collections.abc import Collection, Iterable
from typing import Any

from kvlib.quoted import Quoted, Stated
from kvlib.units import parse


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(header), ["---"] * len(list(header)), *map(list, rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def html_table(
    header: Iterable[str], rows: Iterable[Iterable[str]], code: Collection[int] = ()
) -> str:
    """Return a table as HTML in Markdown; the columns in `code` are set as code."""
    lines = ["```{raw} html", '<div class="catalogue"><table class="table">', "<thead><tr>"]
    lines += [f'<th scope="col">{html.escape(title)}</th>' for title in header]
    lines += ["</tr></thead>", "<tbody>"]
    for row in rows:
        texts = [html.escape(cell) for cell in row]
        cells = [
            f"<code>{text}</code>" if column in code else text for column, text in enumerate(texts)
        ]
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>", "```", ""])


def plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>$|#~])", r"\\\1", text)


def slug(text: str) -> str:
    """Return text as part of a file name."""
    return text.lower().replace(" ", "-")


def stated(part: Any, figure: str) -> Any:
    """Return a figure of a part, or None where no source states it."""
    return None if part is None else vars(part).get(figure)


def number(value: float, digits: int = 6) -> str:
    """Return a number with some digits, whole ones in full."""
    if value == round(value, 0) and abs(value) < 1e15:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def giga(count: float) -> str:
    """Return a count of parameters in thousands of millions."""
    return f"{number(count / 1e9, 4)} G" if count >= 1e9 else f"{number(count / 1e6, 4)} M"


def marked(text: str, *figures: Any) -> str:
    """Return a text, with a word where a figure in it was only recalled."""
    recalled = any(getattr(figure, "basis", "") == "unconfirmed" for figure in figures)
    return f"{text} (unconfirmed)" if recalled else text


def shown(figure: Any) -> str:
    """Return a figure for a table, or a dash where there is none."""
    return "–" if figure is None else value_of(figure)


def value_of(figure: Quoted | Stated) -> str:
    """Return a figure as its source prints it."""
    if isinstance(figure, Stated):
        yes_or_no = "yes" if figure.value is True else "no"
        return marked(figure.value if isinstance(figure.value, str) else yes_or_no, figure)
    unit = "" if figure.unit in ("", "1") else f" {figure.unit}"
    return marked(f"{in_unit(figure, float(figure))}{unit}", figure)


def range_of(figure: Quoted) -> str:
    """Return the range over which sources disagree."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{in_unit(figure, figure.low)} to {in_unit(figure, figure.high)}"


def in_unit(figure: Quoted, value: float) -> str:
    """Return a value in the unit in which its source prints it."""
    return number(float(f"{value / parse(figure.unit or '1')[0]:.12g}"))
