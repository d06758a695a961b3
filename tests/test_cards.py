"""Every number of the catalogue has a source that the bibliography resolves."""

import pickle
import time
import tomllib
from collections import Counter
from numbers import Number
from pathlib import Path

import pytest
from pybtex.database import parse_file

import kvlib
from kvlib.catalogue import (
    KINDS,
    architectures,
    constants,
    count_by_basis,
    device,
    devices,
    model,
    models,
)
from kvlib.catalogue._shelf import catalogue_names
from kvlib.quoted import BASES, Quoted, Stated

ROOT = Path(kvlib.__file__).resolve().parent.parent
BIBLIOGRAPHY = parse_file(str(ROOT / "book" / "references.bib")).entries
CARDS = {**{name: device(name) for name in devices()}, **{name: model(name) for name in models()}}
FIGURES = {
    f"{name}: {place}": figure
    for name, card in CARDS.items()
    for place, figure in card.provenance.items()
}


def numbers_of(value, where=""):
    """Every number inside a device, with the place where it stands."""
    if isinstance(value, Number) and not isinstance(value, bool):
        yield where, value
    elif isinstance(value, tuple):
        for part in value:
            yield from numbers_of(part, where)
    elif hasattr(value, "items"):
        for name, inner in value.items():
            yield from numbers_of(inner, f"{where}.{name}")
    elif hasattr(value, "__dict__") and not isinstance(value, str):
        yield from numbers_of(vars(value), where)


def bare_numbers_of(table, where=""):
    """Every figure of a card, as the file has it."""
    for name, value in table.items():
        place = f"{where}.{name}".lstrip(".")
        if isinstance(value, dict) and "value" not in value:
            yield from bare_numbers_of(value, place)
        elif where and name not in ("source", "basis", "supports"):
            yield place


def test_the_catalogue_is_large_enough():
    assert len(devices()) >= 85
    assert len(models()) >= 70
    assert {device(name).kind for name in devices()} == set(KINDS)


@pytest.mark.parametrize(
    "name",
    [
        "v100", "a100-sxm-40", "a100-sxm-80", "h100-sxm", "h200", "b200", "mi300x", "mi325x",
        "rtx-4090", "rtx-pro-6000", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7", "gaudi-3",
        "neupims-npu", "groq-lpu", "furiosa-rngd", "ambit-3d", "simdram", "flash-cosmos", "3d-fpim",
        "upmem-2556", "axdimm", "smartssd", "genstore-h", "neupims-pim", "attacc-bank-group",
        "cent-system", "hbm-pim.", "gddr6-aim.", "aimx-gen2", "lpddr5-pim", "lpddr5x-aim",
        "cxl-pnm", "bluefield-2", "bluefield-3", "intel-ipu-e2100", "hbm2-stack",
        "hbm2e-stack", "hbm3-stack", "hbm3e-stack", "gddr6-chip", "gddr7-chip", "ddr5-4800",
        "lpddr5x-8533", "nand-die",
        "pcie3", "pcie4", "pcie5", "pcie6", "nvlink3", "nvlink4", "nvlink5", "cxl2-x8", "cxl3-x16",
        "rdma-100g", "rdma-200g", "rdma-400g", "rdma-800g", "xgmi", "ici-v4",
    ],
)  # fmt: skip
def test_what_the_subject_names_is_there(name):
    assert device(name[:-1] if name.endswith(".") else name).title


@pytest.mark.parametrize(
    "family",
    [
        "GPT-3", "OPT", "Llama", "Mistral", "Qwen", "Gemma", "Falcon", "PaLM", "DeepSeek",
        "gpt-oss", "Phi",
    ],
)  # fmt: skip
def test_each_family_is_there(family):
    assert len(models(family)) >= 2


def test_titles_are_unique():
    titles = Counter(card.title for card in CARDS.values())
    assert [title for title, count in titles.items() if count > 1] == []


@pytest.mark.parametrize("shelf", ["devices", "models"])
def test_names_are_plain(shelf):
    for name in catalogue_names(shelf):
        assert name == name.lower()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.@"), name


def test_every_card_is_dated():
    assert [name for name, card in CARDS.items() if card.dated is None] == []


def test_every_number_of_every_device_is_quoted():
    unsourced = [
        f"{name}{place}"
        for name in devices()
        for place, number in numbers_of(device(name))
        if not isinstance(number, Quoted) and not place.endswith((".year", ".dated"))
    ]
    assert unsourced == []


@pytest.mark.parametrize(("shelf", "load"), [("devices", device), ("models", model)])
def test_the_record_of_a_card_holds_every_figure_in_its_file(shelf, load):
    count = 0
    for name, path in catalogue_names(shelf).items():
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        table.pop("provenance", None)
        places = set(bare_numbers_of(table))
        assert set(load(name).provenance) == places, name
        count += len(places)
    assert count > 1000


def test_every_constant_of_a_kernel_is_quoted():
    found = [
        figure
        for architecture in architectures()
        for figures in constants(architecture).values()
        for figure in figures.values()
    ]
    assert found
    assert all(isinstance(figure, Quoted) for figure in found)
    assert {figure.source for figure in found} <= BIBLIOGRAPHY.keys() | {"kvlib"}


def test_every_source_resolves():
    missing = {
        figure.source: place
        for place, figure in FIGURES.items()
        if figure.source not in BIBLIOGRAPHY
    }
    assert missing == {}


def test_every_entry_used_says_where_it_can_be_read():
    def locates(fields):
        repository = "commit" in fields.get("note", "") or "revision" in fields.get("note", "")
        return bool({"doi", "eprint", "url"} & set(fields)) or repository

    used = {figure.source: place for place, figure in FIGURES.items()}
    lost = {key: used[key] for key in used if not locates(BIBLIOGRAPHY[key].fields)}
    assert lost == {}


def test_a_range_contains_its_value_and_says_why():
    ranged = {place: figure for place, figure in FIGURES.items() if hasattr(figure, "low")}
    disputed = {
        place: figure
        for place, figure in ranged.items()
        if figure.low is not None or figure.high is not None
    }
    assert len(disputed) >= 20
    for place, figure in disputed.items():
        assert figure.low is not None, f"{place} has a high without a low"
        assert figure.high is not None, f"{place} has a low without a high"
        assert figure.low <= figure <= figure.high, place
        assert figure.low < figure.high, place
        assert figure.note, f"{place}: say why sources disagree"


def test_the_count_by_basis_is_the_count():
    counted = count_by_basis()
    assert tuple(counted) == BASES
    assert sum(counted.values()) == len(FIGURES)
    assert counted == {basis: counted[basis] for basis in BASES}
    assert counted["unconfirmed"] < 0.1 * len(FIGURES)
    kinds = Counter(type(figure) for figure in FIGURES.values())
    assert set(kinds) == {Quoted, Stated}


def test_what_is_assumed_or_derived_says_why_or_from_what():
    bare = [
        place for place, figure in FIGURES.items()
        if isinstance(figure, Quoted) and figure.basis in ("assumed", "derived") and not figure.note
    ]  # fmt: skip
    assert not bare


def test_flags_and_words_keep_their_source():
    gemma = model("gemma-3-12b").provenance
    assert gemma["model.tied_embeddings"] == Stated(
        True,
        source="huggingface2026transformers",
        basis="paper",
        note="default of the Gemma 3 configuration",
    )
    assert gemma["model.vocabulary"].source == "debaditc2026kvfit"
    assert gemma["attention.pattern"].value == "LLLLLG"
    assert gemma["attention.heads"].source == "lightning2026litgpt"


def test_a_what_if_has_no_source():
    h100 = device("h100-sxm-80gb")
    faster = h100.replace(memories=(h100.memory().replace(bandwidth=5e12),))
    assert "memory.hbm.bandwidth" in h100.provenance
    assert "memory.hbm.bandwidth" not in faster.provenance
    assert "memory.hbm.capacity" in faster.provenance


@pytest.mark.parametrize("name", ["h100-sxm-80gb", "gemma-3-12b"])
def test_cards_survive_pickling_and_cannot_be_changed(name):
    card = CARDS[name]
    again = pickle.loads(pickle.dumps(card))
    assert again == card
    assert again.provenance == card.provenance
    if name in models():
        with pytest.raises(TypeError):
            card.provenance["model.hidden"] = 1
        with pytest.raises(TypeError):
            card.published["parameters"] = 1


@pytest.mark.parametrize(("shelf", "load"), [("devices", device), ("models", model)])
def test_loading_a_card_takes_under_five_milliseconds(shelf, load):
    slow = {}
    for path in catalogue_names(shelf).values():
        best = min(elapsed(load, path) for _ in range(5))
        if best >= 5e-3:
            slow[path.stem] = best
    assert slow == {}


def elapsed(load, path):
    start = time.perf_counter()
    load(path)
    return time.perf_counter() - start
