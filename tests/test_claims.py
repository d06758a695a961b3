"""Every headline number has a cell that computes it, every cell a number, every number a source."""

import ast
import re

import execute_notebooks as store
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from kvlib import claims
from kvlib.checks import UnknownName
from kvlib.claims import STATUSES, Claim, claim, ledger

CHAPTERS = list(store.chosen([], store.ROOT / "notebooks"))
SHOWS_HOW = "00_how_to_read"  # it may repeat another chapter's claim, to show what one is


def calls(source):
    """Return the first argument of each call of `claim` in a cell's source."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.literal_eval(node.args[0])  # a name that is computed is an error: none could check it
        for node in found
        if isinstance(node.func, ast.Name | ast.Attribute)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "claim"
    ]


CALLED = {
    file.stem: [
        name
        for cell in nbformat.read(file, as_version=4).cells
        if cell.cell_type == "code" and "nbval-skip" not in store.tags(cell)
        for name in calls(cell.source)
    ]
    for file in CHAPTERS
}


@pytest.mark.parametrize("name", ledger())
def test_a_claim_is_computed_once_by_the_chapter_it_names(name):
    chapters = [chapter for chapter, names in CALLED.items() for found in names if found == name]
    own = ledger()[name].chapter
    assert chapters.count(own) == 1, f"{name}: called {chapters.count(own)} times in {own}"
    assert set(chapters) <= {own, SHOWS_HOW}, f"{name}: called in {chapters}"


@pytest.mark.parametrize("chapter", CALLED)
def test_every_call_has_a_line_in_the_ledger(chapter):
    assert set(CALLED[chapter]) <= set(ledger())


def test_something_is_claimed():
    assert len(ledger()) >= 10
    assert sum(map(len, CALLED.values())) >= len(ledger())


def test_calls_are_found_wherever_they_stand():
    source = "%time x = 1\nfor a in [1]:\n    claim('one', a); claims.claim('two', claim_of(a))"
    assert sorted(calls(source)) == ["one", "two"]
    with pytest.raises(ValueError, match="malformed"):
        calls("claim(name, 1)")


@pytest.mark.parametrize("line", ledger().values(), ids=lambda line: line.name)
def test_a_claim_is_a_sentence_with_a_number_and_a_source(line):
    bibliography = (store.ROOT / "book/references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"^@\w+\{([^,]+),", bibliography, re.MULTILINE))
    assert line.source == "kvlib" or line.source in known
    assert line.status in STATUSES
    assert line.says.strip().endswith(".")
    assert line.unit
    assert 0 < line.tolerance <= 0.1
    assert (line.status == "derived") <= (line.source == "kvlib" or bool(line.note))
    assert line.holds(line.value)


def line(**changes):
    given = {"chapter": "02", "says": "It is 295.", "value": 295.0, "unit": "flop/B"}
    given |= {"tolerance": 0.01, "status": "derived", "source": "kvlib", "name": "toy"}
    return Claim(**{**given, **changes})


def test_tolerance_is_relative_and_absolute_at_zero():
    assert line().holds(295 * 1.00999)
    assert not line().holds(295 * 1.0101)
    assert line().holds(295 * 0.99001)
    assert line(value=-295.0).holds(-295 * 1.009)
    assert line(value=0.0).holds(0.01)
    assert not line(value=0.0).holds(0.02)
    assert not line(tolerance=0.9).holds(float("nan"))
    assert not line(tolerance=0.9).holds(float("inf"))


@pytest.mark.parametrize("wrong", [306.0, 280.0, float("nan")])
def test_a_number_that_left_its_tolerance_stops_the_book(capsys, wrong):
    with pytest.raises(
        AssertionError, match=rf"'ridge-h100': computed {wrong:g} .* says 295 within"
    ):
        claim("ridge-h100", wrong)
    assert capsys.readouterr().out == ""


def test_a_claim_that_is_not_in_the_ledger_offers_the_nearest():
    with pytest.raises(
        UnknownName, match=r"claim 'ridge-h1000' is unknown\. Nearest known: ridge-h"
    ):
        claim("ridge-h1000", 295.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (("status = 'derived'", "status = 'surely'"), "status 'surely' is unknown"),
        (("tolerance = 0.01", "tolerance = 1.5"), r"tolerance must lie in \[0, 1\)"),
        (("unit = 'flop/B'\n", ""), "missing 1 required .* 'unit'"),
        (("value = 295", "value = 295\nvalues = 295"), "unexpected keyword argument 'values'"),
    ],
)
def test_a_faulty_ledger_is_refused_with_its_line(tmp_path, monkeypatch, spoil, message):
    good = "[toy]\nchapter = '02'\nsays = 'It is.'\nvalue = 295\nunit = 'flop/B'\n"
    good += "tolerance = 0.01\nstatus = 'derived'\nsource = 'kvlib'\n"
    monkeypatch.setattr(claims, "files", lambda package: tmp_path)
    (tmp_path / "claims.toml").write_text(good)
    assert ledger.__wrapped__()["toy"].value == 295
    (tmp_path / "claims.toml").write_text(good.replace(*spoil))
    with pytest.raises((ValueError, UnknownName), match=rf"claims.toml: \[toy\].*{message}"):
        ledger.__wrapped__()
