"""A bad card is refused with file, field, rule and remedy; a malicious one is data and no more."""

import os
import re
import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import device, model
from kvlib.catalogue import CardError
from kvlib.catalogue._shelf import catalogue_names
from kvlib.checks import UnknownName

DEVICE = """
title = "A device"
kind = "gpu"
dated = 2026-01-31
year = 2025

[memory.hbm]
capacity = { value = 80, unit = "GB", source = "a2025b", basis = "vendor" }
bandwidth = { value = 3.35, unit = "TB/s", source = "a2025b", basis = "vendor" }
stacks = { value = 5, unit = "1", source = "a2025b", basis = "vendor" }

[compute.tensor]
peak.fp16 = { value = 989.4, unit = "TFLOP/s", source = "a2025b", basis = "vendor" }
sparse_peak.fp16 = { value = 1978.9, unit = "TFLOP/s", source = "a2025b", basis = "vendor" }

[timing]
tRCD = { value = 14, unit = "ns", source = "a2025b", basis = "paper" }

[limits]
supports = ["everything"]
"""
MODEL = """
title = "A model"
family = "Llama"
dated = 2026-01-31

[provenance]
source = "a2025b"
basis = "paper"

[model]
layers = 32
hidden = 4096
vocabulary = 128256
max_context = 8192
tied_embeddings = false
position = "rope"

[attention]
kind = "GQA"
heads = 32
kv_heads = 8
head_dim = 128

[ffn]
width = 14336
gated = true
"""


def card(folder, text, name="my-card.toml"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(load, path):
    with pytest.raises(CardError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < 2200
    return message.removeprefix(f"{path}: ")


def changed(text, old, new):
    assert text.count(old) >= 1, "the card in this test has changed"
    return text.replace(old, new, 1)


def test_the_cards_that_the_faults_are_planted_in_are_good(tmp_path):
    found = device(card(tmp_path, DEVICE, "my-device.toml"))
    assert found.name == "my-device"
    assert round(found.ridge("fp16")) == 295
    assert model(card(tmp_path, MODEL)).kv_bytes_per_token("fp16") == 131072


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ('3.35, unit = "TB/s"', "3.35", "memory.hbm.bandwidth", r"has no unit: add unit = "),
        ('"a2025b", basis = "paper"', '"", basis = "paper"', "timing.tRCD", r"no source: add"),
        ('source = "a2025b", basis = "paper"', 'basis = "paper"', "timing.tRCD", r"no source: add"),
        ('basis = "paper"', 'basis = "guess"', "timing.tRCD", r"'guess': choose one of vendor"),
        (', basis = "paper"', "", "timing.tRCD", r"has no basis: add basis = one of vendor"),
        ('"TB/s"', '"TB"', "memory.hbm.bandwidth", r"'TB' measures B, but a figure in B/s is"),
        ('"TB/s"', '"TBps"', "memory.hbm.bandwidth", r"'TBps' is not a known unit\. Write"),
        ('"TB/s"', "5", "memory.hbm.bandwidth.unit", r"a string in quotes"),
        ("3.35,", '"3.35",', "memory.hbm.bandwidth", r"'3\.35', but a number without quotes"),
        ("3.35,", "true,", "memory.hbm.bandwidth", r"True, but a number without quotes"),
        ("3.35,", "-3.35,", "memory.hbm.bandwidth", r"-3\.35, which must be above zero: check it"),
        ("3.35,", "0,", "memory.hbm.bandwidth", r"0, which must be above zero: check it"),
        ("3.35,", "nan,", "memory.hbm.bandwidth", r"not a finite number.*leave the figure out"),
        ("3.35,", "inf,", "memory.hbm.bandwidth", r"not a finite number.*leave the figure out"),
        ("3.35,", "1e300,", "memory.hbm.bandwidth", r"not a finite number.*leave the figure out"),
        ("3.35,", f"1{'0' * 400},", "memory.hbm.bandwidth", r"not a finite number"),
        ("value = 3.35, ", "", "memory.hbm.bandwidth", r"has no value: write \{ value"),
        ("3.35,", "3.35, low = 3.4,", "memory.hbm.bandwidth", r"outside its own range"),
        ("3.35,", "3.35, hihg = 3.4,", "memory.hbm.bandwidth", r"unknown keys hihg: correct.*high"),
        ("3.35,", "3.35, note = 5,", "memory.hbm.bandwidth.note", r"a string in quotes"),
        ("bandwidth = {", "bandwith = {", "memory.hbm", r"unknown keys: bandwith\. Correct.*width"),
        ("[memory.hbm]", "[memry.hbm]", "card", r"unknown keys: memry\. Correct"),
        ("[memory.hbm]", "[memory]", "memory.capacity", r"unknown keys: .*Correct or remove"),
        ('kind = "gpu"', 'kind = "gpuu"', "kind", r"'gpuu' is unknown\. Nearest known: gpu"),
        ('kind = "gpu"', "", "kind", r"is missing: write kind = "),
        ('title = "A device"', "", "title", r"is missing: write title = "),
        ('title = "A device"', "title = 5", "title", r"a string in quotes"),
        ('"A device"', f'"{"x" * 1600}"', "title", r"at most 1500 printable characters"),
        ('"A device"', '"""two\nlines"""', "title", r"one line"),
        ('"A device"', '"\\u001b[31mred"', "title", r"printable"),
        ("2026-01-31", '"yesterday"', "dated", r"must be a date without quotes: write it as"),
        ("year = 2025", 'year = "2025"', "year", r"whole number without quotes"),
        ("value = 5,", "value = 5.5,", "memory.hbm.stacks", r"5\.5 must be a whole number"),
        ("peak.fp16", "peak.fp61", "compute.tensor.peak.fp61", r"'fp61' is unknown\. Nearest"),
        ("989.4", "0", "compute.tensor.peak.fp16", r"0, which must be above zero: check it"),
        ("989.4", "2989.4", "compute.tensor", r"dense peak .*exceeds the sparse peak.*Check that"),
        ('"ns"', '"GB"', "timing.tRCD", r"'GB' measures B, but a figure in s is needed"),
        ('["everything"]', '"everything"', "limits.supports", r"must be a list of strings: write"),
        ("[limits]", "[limits]\nmaximum = 3", "limits", r"unknown keys: maximum\. Correct"),
        ('[timing]\n', '[timing]\n"a b" = 1\n', "timing", r"has a name 'a b': use at most 64"),
        ("[timing]", "timing = 5\n[ignored]", "compute.tensor", r"unknown keys: timing"),
        ("[timing]", '[provenance]\nyear = 1\n[timing]', "provenance", r"source and basis only. R"),
    ],
)  # fmt: skip
def test_a_bad_device_card(tmp_path, old, new, field, rule):
    message = refusal(device, card(tmp_path, changed(DEVICE, old, new)))
    assert message.startswith(f"{field} "), message
    assert re.search(rule, message), message


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("kv_heads = 8", "kv_heads = 5", "attention.kv_heads", r"= 5 must divide heads = 32: "),
        ("kv_heads = 8", "kv_heads = 0", "attention.kv_heads", r"0, which must be above zero"),
        ("kv_heads = 8", "", "attention.kv_heads", r"is missing: .*add kv_heads"),
        ("kv_heads = 8", "kv_heads = 8.5", "attention.kv_heads", r"8\.5 must be a whole number"),
        ("kv_heads = 8", "kv_heads = 32", "attention.kind", r"GQA.*are MHA: correct whichever"),
        ('kind = "GQA"', 'kind = "GQ"', "attention.kind", r"unknown: choose one of MHA, GQA"),
        ("_dim = 128", '_dim = 128\npattern = "LG"', "attention.pattern", r"needs a window, and"),
        ("_dim = 128", "_dim = 128\nwndow = 4", "attention", r"unknown keys: wndow\. Correct"),
        ("layers = 32", "layers = 20000", "model.layers", r"between 1 and 10000: correct it"),
        ("layers = 32", "layers = 1e40", "model.layers", r"not a finite number"),
        ("layers = 32", "layers = -1", "model.layers", r"-1, which must be above zero: check it"),
        ("hidden = 4096", "", "model.hidden", r"is missing: .*add hidden"),
        ("= false", '= "false"', "model.tied_embeddings", r"'false' must be true or false"),
        ('"rope"', "5", "model.position", r"5 must be a word in quotes"),
        ('"rope"', '"ropes"', "position", r"'ropes' is unknown\. Nearest known: rope"),
        ("gated = true", "", "ffn.gated", r"is missing: add gated"),
        ("[ffn]\nwidth = 14336\ngated = true", "", "ffn", r"is missing.*add \[ffn\]"),
        ('source = "a2025b"\n', "", "model.layers", r"has no source: add source"),
        ('basis = "paper"\n', "", "model.layers", r"has no basis: add basis"),
        ('basis = "paper"', 'basis = "guess"', "model.layers", r"'guess': choose one of vendor"),
        ("32\nhidden", '{ value = 32, unit = "GB" }\nhidden', "model.layers", r"measures B, but"),
        ("= true", "= { value = true, source = 5 }", "ffn.gated.source", r"a string in quotes"),
        ("= true", '= { source = "x" }', "ffn.gated", r"has no value: write"),
    ],
)  # fmt: skip
def test_a_bad_model_card(tmp_path, old, new, field, rule):
    message = refusal(model, card(tmp_path, changed(MODEL, old, new)))
    assert message.startswith(f"{field} "), message
    assert re.search(rule, message), message


def test_more_experts_than_there_are(tmp_path):
    experts = "[experts]\ncount = 8\nactive = 9\nwidth = 64\ngated = true\n"
    message = refusal(model, card(tmp_path, MODEL + experts))
    assert re.search(r"active = 9 experts per token, but there are only 8", message)


@pytest.mark.parametrize("load", [device, model])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("title = ", "not valid TOML"),
        ("[memory.hbm\n", "not valid TOML"),
        (DEVICE[:200], "not valid TOML.*fetched again"),
        ("a = 1\na = 2\n", "not valid TOML.*A name may be given once"),
        ("[a]\n[a]\n", "not valid TOML.*A name may be given once"),
        (b"title = '\xff\xfe'", "UTF-8"),
        ("# " + "x" * 70_000, "more than 65536 bytes"),
        ("x = '" + "y" * 3000 + "'", "longer than 2000 characters. Break it up"),
        ("a = " + "[" * 1500 + "]" * 400, "not valid TOML|nested deeper"),
        (".".join("a" * 900) + " = 1", "not valid TOML|nested deeper"),
        ("a = " + "{b = " * 300 + "1" + "}" * 300, "not valid TOML|nested deeper"),
        ("".join(f"x{row} = [{'1,' * 900}]\n" for row in range(3)), "2703 entries.*2000. Split"),
        ("", "title is missing: write title"),
    ],
)  # fmt: skip
def test_a_bad_file(tmp_path, load, text, rule):
    message = refusal(load, card(tmp_path, text))
    assert re.search(rule, message, re.DOTALL), message


@pytest.mark.parametrize("load", [device, model])
def test_a_path_that_leads_nowhere(tmp_path, load):
    assert "No such file" in refusal(load, tmp_path / "gone.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "is not a file. Give the path of the card itself" in refusal(load, folder)
    with pytest.raises(CardError, match="Check the path"):
        load("nul\0byte.toml")
    with pytest.raises(CardError, match="Check the path"):
        load("x" * 5000 + ".toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_a_pipe_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    assert "is not a file" in refusal(device, pipe)


def test_a_file_larger_than_memory_is_not_read(tmp_path):
    path = tmp_path / "endless.toml"
    path.touch()
    os.truncate(path, 2**40)  # a hole: it takes no space on the disk
    assert "holds more than 65536 bytes" in refusal(device, path)


def test_a_name_that_is_not_in_the_catalogue():
    with pytest.raises(
        UnknownName, match=r"device 'h1oo-sxm' is unknown\. Nearest known: h100-sxm"
    ):
        device("h1oo-sxm")
    with pytest.raises(UnknownName, match=r"'lama-3-8b' is unknown\. Nearest known: llama-3-8b"):
        model("lama-3-8b")
    with pytest.raises(UnknownName):
        device("../devices/h100-sxm-80gb")
    with pytest.raises(UnknownName):
        device("")


def test_a_malicious_card_is_data(tmp_path, monkeypatch):
    """Nothing in it runs, is opened or is fetched; what it calls itself is text."""
    touched = tmp_path / "touched"
    evil = [
        f"__import__('os').system('touch {touched}')",
        f"$(touch {touched})",
        "{{7*7}}", "%(x)s", "{0.__class__.__mro__}", "<script>alert(1)</script>", "../etc/passwd",
    ]  # fmt: skip
    text = changed(DEVICE, '["everything"]', repr([each.replace("'", "`") for each in evil]))
    found = device(card(tmp_path, text))
    assert found.supports == tuple(each.replace("'", "`") for each in evil)
    for each in evil:
        text = changed(DEVICE, '"A device"', '"' + each + '"')
        assert device(card(tmp_path, text)).title == each
        named = changed(DEVICE, "[memory.hbm]", f'[memory."{each}"]')
        assert "use at most 64 letters" in refusal(device, card(tmp_path, named))
    assert not touched.exists()


def test_the_worst_card_of_the_largest_size_is_refused_quickly(tmp_path):
    line = ".".join("a" * 900) + ".x{} = 1\n"
    text = "".join(line.format(number) for number in range(35))
    path = card(tmp_path, text)
    start = time.perf_counter()
    refusal(device, path)
    assert time.perf_counter() - start < 2.0


LETTERS = st.sampled_from(sorted(catalogue_names("devices")))


@given(name=LETTERS, data=st.data())
def test_any_change_to_a_card_is_read_or_refused(tmp_path_factory, name, data):
    """Nothing but a device or a CardError comes out of a damaged card."""
    text = catalogue_names("devices")[name].read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    odd = st.sampled_from(["-", "0", "nan", '"', "[", "= {", "1e99"])
    filling = data.draw(st.text(max_size=10) | odd)
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_text(text[:start] + filling + text[end:], encoding="utf-8")
    try:
        found = device(path)
    except CardError as problem:
        assert str(problem).startswith(str(path))  # noqa: PT017 - both outcomes are right
    else:
        assert all(figure >= 0 for figure in found.provenance.values())


@given(end=st.integers(0, len(MODEL)))
def test_a_truncated_card_is_refused_or_lacks_only_its_end(tmp_path_factory, end):
    path = tmp_path_factory.getbasetemp() / "truncated.toml"
    path.write_text(MODEL[:end], encoding="utf-8")
    try:
        found = model(path)
    except CardError:
        return
    assert found == model(path)
    assert tomllib.loads(MODEL[:end])["ffn"] == {"width": 14336, "gated": True}
