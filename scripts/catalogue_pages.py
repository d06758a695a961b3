"""The pages of the book that show the catalogue: tables, cards, conflicts, count by basis.

Everything on them is read from the cards or computed from them.
A figure that was only recalled is marked in words wherever it, or a quantity made of it, appears.
"""

# A sentence of a page is one line here too, as in the book's own Markdown.
# ruff: noqa: E501

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from catalogue_text import (
    giga,
    html_table,
    marked,
    number,
    plain,
    range_of,
    shown,
    slug,
    stated,
    table,
    value_of,
)

from kvlib.catalogue import KINDS, count_by_basis, device, devices, model, models
from kvlib.catalogue import _devices as fields
from kvlib.footprint import tokens
from kvlib.hardware import Device, UnknownFigure
from kvlib.quoted import BASES, Quoted, Stated
from kvlib.units import KiB, pJ
from kvlib.workload import Transformer

__all__ = ["pages"]

MANY = 3  # models that a family needs for a page of its own
YARDSTICK = "llama-3-8b"
MEANINGS = {
    "vendor": "printed by whoever makes it",
    "measured": "measured, by whoever the source is",
    "paper": "printed in a paper, or in the code that came with one",
    "derived": "computed from other figures of the source, as the note says",
    "assumed": "chosen by the source or by this book where nothing is published",
    "unconfirmed": "recalled, not read: treat it as a placeholder",
}
COMPUTED = {
    "ridge of a device for a number format [flop/byte]": 'device("h100-sxm-80gb").ridge("fp16")',
    "energy of the package for each byte it reads [J/byte]": 'device("h100-sxm-80gb").energy_per_byte()',
    "parameters of a model": 'model("llama-3-8b").parameters',
    "parameters that one token meets": 'model("mixtral-8x7b").active_parameters',
    "bytes that one token adds to the cache": 'model("llama-3-8b").kv_bytes_per_token("fp16")',
    "tokens whose cache a memory holds": 'tokens(model("llama-3-8b"), device("h100-sxm-80gb"), "fp16")',
}
STYLE = """
```{raw} html
<link rel="stylesheet" href="../../_static/catalogue.css">
```
"""
SCRIPT = """
```{raw} html
<script src="../../_static/catalogue.js" defer></script>
```
"""


def pages() -> dict[str, str]:
    """Return every page by file name."""
    found = {
        "catalogue.md": overview(),
        "devices.md": device_table(),
        "models.md": model_table(),
        "disagreements.md": disagreements(),
        "card_fields.md": card_fields(),
    }
    for kind, title in KINDS.items():
        cards = "\n".join(device_card(device(name)) for name in devices(kind))
        found[f"devices_{kind}.md"] = f"# Devices: {title}\n{STYLE}\n{cards}"
    for group, names in families().items():
        cards = "\n".join(model_card(model(name)) for name in names)
        found[f"models_{slug(group)}.md"] = f"# Models: {group}\n{STYLE}\n{cards}"
    return found


def families() -> dict[str, list[str]]:
    """Return the models of each family that has a page, and of the others together."""
    count = Counter(model(name).family for name in models())
    groups: dict[str, list[str]] = {}
    for name in models():
        family = model(name).family
        groups.setdefault(family if count[family] >= MANY else "other families", []).append(name)
    return dict(sorted(groups.items(), key=lambda group: (group[0] == "other families", group[0])))


# ---- overview -------------------------------------------------------------------


def overview() -> str:
    """Return the page that counts the catalogue."""
    boards = [device(name) for name in devices()]
    nets = [model(name) for name in models()]
    counts = [count_by_basis(boards), count_by_basis(nets), count_by_basis()]
    total = sum(counts[-1].values())
    share = 100 * counts[-1]["unconfirmed"] / total
    rows = [[basis, MEANINGS[basis], *(f"{count[basis]:,}" for count in counts)] for basis in BASES]
    rows.append(["**all**", "", *(f"{sum(count.values()):,}" for count in counts)])
    kinds = Counter(board.kind for board in boards)
    kinds_table = [[f"{{doc}}`{KINDS[kind]} <devices_{kind}>`", str(kinds[kind])] for kind in KINDS]
    groups = [
        [f"{{doc}}`{group} <models_{slug(group)}>`", str(len(names))]
        for group, names in families().items()
    ]
    return f"""# The catalogue

`kvlib` knows {len(boards)} devices, memories and links, and {len(nets)} models.
Each is a card: a small file in which every figure carries its value, its unit, its source and its basis.
All of them are here: {{doc}}`the devices <devices>`, {{doc}}`the models <models>`, and {{doc}}`the figures on which sources disagree <disagreements>`.
To add one of your own, see {{doc}}`../adding_a_device`.

## What the figures rest on

There are {total:,} figures, flags and words, and every one names a source that the {{doc}}`bibliography <../references>` lists.
The basis says what kind of statement it is.
{share:.0f} % are marked *unconfirmed*: they were recalled, no source for them could be read, and every table and card says so beside the value.

{table(["basis", "meaning", "devices", "models", "all"], rows)}
`kvlib.catalogue.count_by_basis()` gives the same count, and `device("h100-sxm-80gb").provenance` every figure of a card by its place.

## What is computed

Quantities that follow from others are never stored:

{table(["quantity", "call"], [[quantity, f"`{call}`"] for quantity, call in COMPUTED.items()])}
## Devices by kind

{table(["kind", "cards"], kinds_table)}
## Models by family

{table(["family", "cards"], groups)}"""


# ---- tables --------------------------------------------------------------------


def device_table() -> str:
    """Return the table of all devices."""
    header = ["device", "kind", "year", "memory", "bandwidth", "link", "peak", "ridge", "power"]
    rows = [device_row(device(name)) for kind in KINDS for name in devices(kind)]
    return f"""# Devices

Capacity and bandwidth are those of the main memory, as the processor of the device itself sees it; a link counts one direction.
The peak is the first that the card states, without sparsity; the ridge is peak over bandwidth, in flop/byte.
A dash means that no source states the figure.
The name leads to the card, which has every figure with its source.
{STYLE}{SCRIPT}
:::{{container}} catalogue filterable
{table(header, rows)}:::
"""


def device_row(board: Device) -> list[str]:
    """Return one row of the table of devices."""
    memory = board.memories[0] if board.memories else None
    compute = board.computes[0] if board.computes else None
    link = board.links[0] if board.links else None
    bandwidth = stated(memory, "bandwidth")
    peaks: dict[str, Any] = stated(compute, "peak") or {}
    precision, peak = next(iter(peaks.items()), ("", None))
    ridge = None if peak is None or bandwidth is None else board.ridge(precision)
    return [
        f"{{ref}}`{board.title} <card-{board.name}>`",
        KINDS[board.kind],
        str(stated(board, "year") or "–"),
        shown(stated(memory, "capacity")),
        shown(bandwidth),
        shown(stated(link, "bandwidth")),
        f"{shown(peak)} {precision}".strip(),
        marked(number(ridge, 3), peak, bandwidth) if ridge is not None else "–",
        shown(stated(board, "power")),
    ]


def model_table() -> str:
    """Return the table of all models."""
    header = ["model", "family", "attention", "layers", "hidden", "heads", "KV heads", "head size"]
    header += ["parameters", "published", "active", "context", "KV per token"]
    rows = [model_row(model(name)) for names in families().values() for name in names]
    return f"""# Models

Parameters are counted from the shapes of the layers, all experts included; *published* is what the authors print.
*Active* parameters are those that one token meets.
The cache of one token, *KV per token*, is in KiB at 16 bits an element while no window is full.
{STYLE}{SCRIPT}
:::{{container}} catalogue filterable
{table(header, rows)}:::
"""


def model_row(net: Transformer) -> list[str]:
    """Return one row of the table of models."""
    attention = net.layers[0].attention
    windowed = any(layer.attention.window for layer in net.layers)
    latent = attention.kind == "MLA"
    published = net.published.get("parameters")
    return [
        f"{{ref}}`{net.title} <card-{net.name}>`",
        net.family,
        ", ".join(net.attention_kinds) + (", windows" if windowed else ""),
        str(len(net.layers)),
        f"{net.hidden:,}",
        str(attention.heads),
        "–" if latent else str(attention.heads // attention.group),
        "–" if latent else str(getattr(attention, "head_dim", "–")),
        giga(net.parameters),
        marked(giga(published), published) if published else "–",
        giga(net.active_parameters) if net.active_parameters != net.parameters else "–",
        f"{net.max_context:,}",
        number(net.kv_bytes_per_token("fp16") / KiB, 5),
    ]


# ---- cards ------------------------------------------------------------------------


def device_card(board: Device) -> str:
    """Return the section with all that is known of a device."""
    parts = [f'`device("{board.name}")`', KINDS[board.kind]]
    if year := stated(board, "year"):
        parts.append(str(year))
    lines = [*heading(board), f"{', '.join(parts)}. {dated(board)}"]
    lines += [plain(board.note)] if board.note else []
    if board.supports:
        lines.append(f"It can do: {plain(', '.join(board.supports))}.")
    if derived := list(device_quantities(board)):
        lines.append(f"Computed: {'; '.join(derived)}.")
    return "\n".join(lines) + f"\n\n{figures(board)}"


def device_quantities(board: Device) -> Iterator[str]:
    """Quantities that follow from the figures of a device."""
    memory = board.memories[0] if board.memories else None
    bandwidth = stated(memory, "bandwidth")
    if bandwidth is not None and board.computes:
        peaks: dict[str, Any] = stated(board.compute(), "peak") or {}
        ridges = [
            f"{marked(number(board.ridge(precision), 3), peak, bandwidth)} for {precision}"
            for precision, peak in peaks.items()
        ]
        if ridges:
            yield f"ridge {', '.join(ridges)}, in flop/byte"
    capacity = stated(memory, "capacity")
    if capacity is not None:
        count = marked(f"{tokens(model(YARDSTICK), board):,}", capacity)
        yield f"room for the cache of {count} tokens of {model(YARDSTICK).title} at 16 bits"
    try:
        energy = number(board.energy_per_byte() / pJ, 3)
        yield f"{marked(energy, stated(board, 'power'), bandwidth)} pJ/byte for the whole package"
    except UnknownFigure:
        pass


def model_card(net: Transformer) -> str:
    """Return the section with all that is known of a model."""
    lines = [*heading(net), f'`model("{net.name}")`. {dated(net)}']
    lines += [plain(net.note)] if net.note else []
    counted = [f"{net.parameters:,} parameters"]
    if published := net.published.get("parameters"):
        counted.append(f"{100 * (net.parameters / published - 1):+.2f} % from those published")
    if net.active_parameters != net.parameters:
        counted.append(f"{net.active_parameters:,} of them active")
    cache = number(net.kv_bytes_per_token("fp16") / KiB, 5)
    lines.append(f"Computed: {', '.join(counted)}; {cache} KiB of cache for a token at 16 bits.")
    return "\n".join(lines) + f"\n\n{figures(net)}"


def heading(card: Device | Transformer) -> list[str]:
    """Return the target and the title of a card."""
    return [f"(card-{card.name})=", f"## {plain(card.title)}", ""]


def dated(card: Device | Transformer) -> str:
    """Return the sentence that dates a card."""
    day = vars(card).get("dated")
    return f"The card is of {day.day} {day:%B %Y}." if day else ""


def figures(card: Device | Transformer) -> str:
    """Return the table of the figures of a card, and its sources, each cited once.

    A row names its source by the key that the figure carries in Python. The table is HTML, and a
    source is not cited on every row, because either would double the time to build the book.
    """
    rows = [
        [place, f"{value_of(figure)}{between(figure)}", figure.basis, figure.source, figure.note]
        for place, figure in card.provenance.items()
    ]
    sources = dict.fromkeys(figure.source for figure in card.provenance.values())
    cited = ", ".join(f"`{source}` {{cite}}`{source}`" for source in sources)
    header = ["figure", "value", "basis", "source", "note"]
    return f"{html_table(header, rows, code=(0, 3))}\nSources: {cited}.\n"


def between(figure: Quoted | Stated) -> str:
    """Return the range of a figure in parentheses, or nothing."""
    known = range_of(figure) if isinstance(figure, Quoted) else ""
    return f" (sources give {known})" if known else ""


# ---- conflicts -------------------------------------------------------------------------


def disagreements() -> str:
    """Return the page of the figures on which sources disagree, the widest first."""
    cards: list[Device | Transformer] = [*map(device, devices()), *map(model, models())]
    disputed = [
        (figure.high / figure.low if figure.low else math.inf, card, place, figure)
        for card in cards
        for place, figure in card.provenance.items()
        if isinstance(figure, Quoted) and figure.low is not None and figure.high is not None
    ]
    disputed.sort(key=lambda row: (-row[0], row[1].name, row[2]))
    quoted = sum(isinstance(f, Quoted) for card in cards for f in card.provenance.values())
    wide = sum(spread >= 2 for spread, *_ in disputed)
    rows = [
        [
            f"{{ref}}`{card.title} <card-{card.name}>`",
            f"`{place}`",
            range_of(figure),
            f"{number(spread, 3)} ×",
            f"{value_of(figure)} {{cite}}`{figure.source}`",
            plain(figure.note),
        ]
        for spread, card, place, figure in disputed
    ]
    header = ["card", "figure", "sources give", "spread", "chosen", "why"]
    return f"""# Where sources disagree

Of {quoted:,} quoted numbers, {len(disputed)} come with a range: the sources that were read print different values, or one prints several for different settings.
In {wide} cases these differ by a factor of two or more.
Three rules decide where they can.
What the maker prints goes before what a tool or a comparison site prints.
A dense peak goes before one that counts skipped zeros, and one direction of a link before the sum of both.
Where several products or settings share a name, the card takes the one in its title, and the note says what the others are.
Where no rule decides, the range is the answer: compute with both ends.

The spread is the highest value over the lowest.
{STYLE}{SCRIPT}
:::{{container}} catalogue filterable
{table(header, rows)}:::
"""


# ---- fields of a card ------------------------------------------------------------------------


def card_fields() -> str:
    """Return the table of what a device card may hold."""
    tables = {
        "[memory.NAME]": fields.MEMORY,
        "[compute.NAME]": fields.COMPUTE_BY_PRECISION | fields.COMPUTE,
        "[link.NAME]": fields.LINK,
        "[package]": fields.PACKAGE,
    }
    units = {
        "B": "GB, GiB", "B/s": "GB/s, TB/s", "s": "ns, us", "J/B": "pJ/bit, pJ/B", "1": "1",
        "flop/s": "TFLOP/s, TOP/s", "1/s": "MHz, GHz", "J/flop": "pJ/flop", "J/s": "W",
        "USD": "USD", "m2": "mm2",
    }  # fmt: skip
    rows = []
    for section, known in tables.items():
        for field, dimension in known.items():
            name = f"{field}.PRECISION" if field in fields.COMPUTE_BY_PRECISION else field
            rows.append([f"`{section}`", f"`{name}`", units[dimension]])
    rows.append(["`[timing]`", "JEDEC names: `tRCD`, `tRP`, `tFAW`, ...", "ns"])
    rows.append(["`[parameters]`", "whatever only this technology has", "any"])
    return table(["table", "figure", "unit, for example"], rows)
