"""Write the pages of the book that are made from data: ledger, efficiency constants, catalogue.

They go to book/generated/, which git ignores; a file is rewritten only if its text changed.
"""

import sys
from pathlib import Path

import catalogue_pages
from catalogue_text import value_of

from kvlib.catalogue import architectures, constants
from kvlib.claims import ledger

ROOT = Path(__file__).resolve().parent.parent


def claims_page() -> str:
    """Return the claims ledger as a page."""
    lines = [
        "# The claims ledger",
        "",
        "Every headline number of the book, recomputed in the chapter that claims it.",
        "The build fails if a number leaves its tolerance.",
        "The tests fail if a claim has no cell, or a cell no claim.",
        "",
        "| claim | the book says | value | within | status | source |",
        "|---|---|---|---|---|---|",
    ]
    for claim in ledger().values():
        source = "this book" if claim.source == "kvlib" else f"{{cite}}`{claim.source}`"
        note = f" *{claim.note}*" if claim.note else ""
        lines.append(
            f"| {{doc}}`{claim.name} <../../notebooks/{claim.chapter}>` | {claim.says}{note} "
            f"| {claim.value:g} {claim.unit} | {100 * claim.tolerance:g} % "
            f"| {claim.status} | {source} |"
        )
    return "\n".join(lines) + "\n"


def efficiency_tables() -> str:
    """Return the fitted constants of every architecture as a table that unfolds."""
    lines = []
    for architecture in architectures():
        lines += [
            f":::{{admonition}} Constants of {architecture.title()}",
            ":class: dropdown",
            "",
            "| kernel | constant | value | basis | note |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {kernel.replace('.', ': ').replace('_', ' ')} | {name.replace('_', ' ')} "
            f"| {value_of(figure)} | {figure.basis} | {figure.note} |"
            for kernel, figures in constants(architecture).items()
            for name, figure in figures.items()
        ]
        lines += [":::", ""]
    return "\n".join(lines)


PAGES = {"claims.md": claims_page, "efficiency.md": efficiency_tables}


def main(root: Path = ROOT) -> int:
    """Write every page."""
    folder = root / "book" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: page() for name, page in PAGES.items()} | catalogue_pages.pages()
    for name, text in texts.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    for pattern in ("devices_*.md", "models_*.md"):  # of a kind or family that has gone
        for file in folder.glob(pattern):
            if file.name not in texts:
                file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
