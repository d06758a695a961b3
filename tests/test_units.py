"""A unit is the number that the SI, the IEC and the vendors' habits make it."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import units
from kvlib.units import check, parse

# Written as integers where the standard gives an integer: no factor is computed from another.
CONSTANTS = {
    "byte": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
    "PB": 1_000_000_000_000_000,
    "KiB": 1_024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776,
    "bit": 0.125, "Gbit": 125_000_000,
    "s": 1, "ms": 0.001, "us": 0.000001, "ns": 0.000000001, "ps": 0.000000000001,
    "minute": 60, "hour": 3_600, "year": 31_557_600,
    "flop": 1, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15,
    "Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9,
    "J": 1, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12,
    "W": 1, "mW": 1e-3, "kW": 1e3, "USD": 1,
}  # fmt: skip
TEXTS = {
    "TB/s": (1e12, "B/s"),
    "GiB/s": (1_073_741_824, "B/s"),
    "Gbit/s": (125e6, "B/s"),
    "GT/s": (1e9, "transfer/s"),
    "TFLOP/s": (1e12, "flop/s"),
    "TOP/s": (1e12, "flop/s"),
    "pJ/bit": (8e-12, "J/B"),
    "pJ/flop": (1e-12, "J/flop"),
    "B/cycle": (1, "B/cycle"),
    "mm2": (1e-6, "m2"),
    "W": (1, "J/s"),
    "kW*hour": (3.6e6, "J"),
    "J/s": (1, "J/s"),
    "USD/hour": (1 / 3600, "USD/s"),
    "MHz": (1e6, "1/s"),
    "1/us": (1e6, "1/s"),
    "G": (1e9, "1"),
    "1": (1, "1"),
    "s/s": (1, "1"),
    "s*s": (1, "s2"),
    "GB/s/W": (1e9, "B/J"),
    " GB / s ": (1e9, "B/s"),
}


def test_every_public_constant_has_its_number():
    assert set(CONSTANTS) == set(units.__all__) - {"parse", "check"}
    for name, number in CONSTANTS.items():
        assert getattr(units, name) == pytest.approx(number, rel=1e-15), name


@pytest.mark.parametrize(("text", "expected"), TEXTS.items(), ids=TEXTS.keys())
def test_products_and_quotients(text, expected):
    factor, dimension = parse(text)
    assert factor == pytest.approx(expected[0], rel=1e-12)
    assert dimension == expected[1]


@pytest.mark.parametrize("base", ["B", "bit", "s", "flop", "OP", "J", "W", "Hz", "V", "A", "F"])
def test_decimal_prefixes_step_by_a_thousand(base):
    ladder = [
        parse(prefix + base) for prefix in ("f", "p", "n", "u", "m", "", "k", "M", "G", "T", "P")
    ]
    assert len({dimension for _, dimension in ladder}) == 1
    for (small, _), (large, _) in pairwise(ladder):
        assert large / small == pytest.approx(1000, rel=1e-12)


def test_prefixes_are_told_apart_by_case_and_never_guessed():
    assert parse("mB")[0] == 1e-3
    assert parse("MB")[0] == 1e6
    assert parse("Mbit")[0] * 8 == parse("MB")[0]
    assert parse("GiB")[0] / parse("GB")[0] == 1.073741824


@pytest.mark.parametrize(
    "text", ["", "GBps", "gb", "GB//s", "/s", "GB/", "*GB", "K", "TFLOPS", "µs"]
)
def test_unknown_unit_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"is not a known unit.*TB/s"):
        parse(text)


@pytest.mark.parametrize("wrong", [None, 5, 1.0, ["GB"]])
def test_unit_that_is_no_text_is_refused(wrong):
    with pytest.raises(TypeError, match="must be text, such as 'TB/s'"):
        parse(wrong)


def test_check_returns_the_factor_or_names_both_dimensions():
    assert check("TB/s", "B/s") == 1e12
    with pytest.raises(ValueError, match=r"'TB' measures B, but a figure in B/s is needed"):
        check("TB", "B/s")


NAMES = st.sampled_from(["B", "GiB", "ms", "TFLOP", "pJ", "W", "bit", "cycle", "mm2"])


@given(NAMES, NAMES)
def test_a_quotient_undoes_a_product(first, second):
    factor, dimension = parse(f"{first}*{second}/{second}")
    assert dimension == parse(first)[1]
    assert math.isclose(factor, parse(first)[0], rel_tol=1e-12)
