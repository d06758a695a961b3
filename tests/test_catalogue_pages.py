"""The pages of the catalogue show every card, every conflict and every figure that was recalled."""

import re
from pathlib import Path

import catalogue_pages
import generate_pages
import pytest
from catalogue_text import marked, number, plain, range_of, value_of

from kvlib import device, devices, model, models
from kvlib.catalogue import KINDS, architectures, constants, count_by_basis
from kvlib.footprint import tokens
from kvlib.quoted import Quoted, Stated
from kvlib.units import us

ROOT = Path(__file__).resolve().parent.parent
CARDS = {**{name: device(name) for name in devices()}, **{name: model(name) for name in models()}}


@pytest.fixture(scope="module")
def pages():
    return catalogue_pages.pages()


@pytest.fixture(scope="module")
def sections(pages):
    """Text of each card by name."""
    found = {}
    for name, page in pages.items():
        if name.startswith(("devices_", "models_")):
            parts = re.split(r"^\(card-(.+)\)=$", page, flags=re.MULTILINE)
            for card, text in zip(parts[1::2], parts[2::2], strict=True):
                assert card not in found, f"{card} is shown twice"
                found[card] = text
    return found


def test_fitted_constants_are_shown_in_their_own_unit():
    text = generate_pages.efficiency_tables()
    rows = re.findall(r"^\| (?!kernel).*$", text, flags=re.MULTILINE)
    assert sum(len(f) for a in architectures() for f in constants(a).values()) == len(rows)
    floor = f"{constants('hopper')['gemm']['kernel_floor'] / us:.2f} us"
    assert any(row.startswith(f"| gemm | kernel floor | {floor} |") for row in rows)
    assert not [row for row in rows if re.search(r"\| \S*e[+-]\d+ ", row)]


def test_every_card_is_shown_once_with_every_figure_and_source(sections):
    assert sections.keys() == CARDS.keys()
    for name, card in CARDS.items():
        text = sections[name]
        assert text.count("<tr>") == len(card.provenance) + 1, name
        for place, figure in card.provenance.items():
            assert f"<code>{place}</code>" in text, name
            assert f"{{cite}}`{figure.source}`" in text, name


def test_what_was_recalled_is_marked_in_words(sections):
    count = 0
    for name, card in CARDS.items():
        for place, figure in card.provenance.items():
            row = re.search(rf"<code>{re.escape(place)}</code></td><td>(.*?)</td>", sections[name])
            assert ("(unconfirmed)" in row[1]) == (figure.basis == "unconfirmed"), (name, place)
            count += figure.basis == "unconfirmed"
    assert count == count_by_basis()["unconfirmed"] > 0


def test_quantities_made_of_what_was_recalled_are_marked(pages):
    def row(name):
        return next(line for line in pages["devices.md"].splitlines() if f"<card-{name}>" in line)

    assert device("axdimm").memory().bandwidth.basis == "unconfirmed"
    assert "38.4 GB/s (unconfirmed)" in row("axdimm")
    assert "unconfirmed" not in row("h100-sxm-80gb")
    assert "| 3.35 TB/s |" in row("h100-sxm-80gb")
    assert "| 989.4 TFLOP/s fp16 | 295 |" in row("h100-sxm-80gb")


@pytest.mark.parametrize(
    ("page", "count"), [("devices.md", len(devices())), ("models.md", len(models()))]
)
def test_tables_have_a_row_for_each_card(pages, page, count):
    rows = [line for line in pages[page].splitlines() if line.startswith("| {ref}")]
    assert len(rows) == count
    assert len({line.count(" | ") for line in rows}) == 1


def test_every_conflict_is_listed_widest_first(pages):
    rows = [
        line.split(" | ") for line in pages["disagreements.md"].splitlines() if "<card-" in line
    ]
    disputed = [
        (name, place)
        for name, card in CARDS.items()
        for place, figure in card.provenance.items()
        if isinstance(figure, Quoted) and figure.low is not None
    ]
    assert len(rows) == len(disputed) > 20
    spreads = [float(row[3].removesuffix(" ×").replace(",", "")) for row in rows]
    assert spreads == sorted(spreads, reverse=True)
    h100 = next(row for row in rows if "<card-h100-sxm-80gb>" in row[0])
    assert h100[2] == "3.072 to 3.4"
    assert h100[4] == "3.35 TB/s {cite}`nvidia2023h100`"


def test_the_overview_counts(pages):
    total = sum(count_by_basis().values())
    assert f"There are {total:,} figures" in pages["catalogue.md"]
    for basis, count in count_by_basis().items():
        assert re.search(rf"^\| {basis} \|.*\| {count:,} \|$", pages["catalogue.md"], re.MULTILINE)
    for kind in KINDS:
        assert f"<devices_{kind}>` | {len(devices(kind))} |" in pages["catalogue.md"]


@pytest.mark.parametrize("call", catalogue_pages.COMPUTED.values())
def test_the_calls_that_the_overview_names_work(call):
    assert eval(call, {"device": device, "model": model, "tokens": tokens}) > 0


def test_every_link_leads_to_a_page(pages):
    for name, page in pages.items():
        for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", page):
            inside = f"{target}.md" in pages
            assert inside or (ROOT / "book/generated" / f"{target}.md").resolve().exists(), (
                name,
                target,
            )
        for target in re.findall(r"\{ref\}`[^`]*<card-([^`>]+)>`", page):
            assert target in CARDS, name


def test_cells_cannot_break_a_table(sections, pages):
    for name in ("devices.md", "models.md", "disagreements.md", "card_fields.md"):
        widths = {
            len(re.findall(r"(?<!\\)\|", line))
            for line in pages[name].splitlines()
            if line.startswith("|")
        }
        assert len(widths) == 1, name
    assert not any("<script" in text for text in sections.values())


def test_texts():
    rate = Quoted(3.35e12, source="x", basis="vendor", unit="TB/s", low=3.072e12, high=3.4e12)
    assert value_of(rate) == "3.35 TB/s"
    assert range_of(rate) == "3.072 to 3.4"
    recalled = Quoted(64e9, source="x", basis="unconfirmed", unit="GB")
    assert value_of(recalled) == "64 GB (unconfirmed)"
    assert marked("1", rate, recalled) == "1 (unconfirmed)"
    assert value_of(Quoted(5, source="x", basis="vendor", unit="1")) == "5"
    assert value_of(Stated(True, "x", "paper")) == "yes"
    assert value_of(Stated("rope", "x", "unconfirmed")) == "rope (unconfirmed)"
    assert [number(value) for value in (1048576, 0.0311, 2 / 3, 5e9, 1234567.5)] == [
        "1,048,576", "0.0311", "0.666667", "5,000,000,000", "1,234,570",
    ]  # fmt: skip
    assert plain("a|b *c* $d_e$ <f>") == r"a\|b \*c\* \$d\_e\$ \<f\>"


def test_pages_of_families_that_are_gone_are_removed(tmp_path):
    folder = tmp_path / "book" / "generated"
    folder.mkdir(parents=True)
    (folder / "models_gone.md").write_text("# Gone")
    (folder / "kept.md").write_text("# Kept")
    assert generate_pages.main(tmp_path) == 0
    assert not (folder / "models_gone.md").exists()
    assert (folder / "kept.md").exists()
    written = {file: file.stat().st_mtime_ns for file in folder.glob("*.md")}
    assert len(written) > 25
    generate_pages.main(tmp_path)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.md")} == written


def test_the_filter_is_small_and_labelled():
    script = (ROOT / "book/_static/catalogue.js").read_text(encoding="utf-8")
    assert len(script.splitlines()) < 100
    assert "label.htmlFor" in script
    assert "<output" not in script, "controls are made by the script, not written as HTML"
    assert "innerHTML" not in script
    assert "fetch" not in script
