"""A wrong value is refused at once: the message gives the value, the rule and the way out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib.checks import UnknownName, choose, finite, fraction, positive, whole
from kvlib.precision import BITS, element_size, itemsize

NAN, INFINITY = float("nan"), float("inf")
NOT_NUMBERS = [None, "4096", True, 1 + 2j, [None], {}]


@pytest.mark.parametrize("check", [positive, whole, fraction, finite])
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_no_number_is_a_type_error(check, value):
    with pytest.raises(TypeError, match=r"^width = .* must be a number or an array of numbers\.$"):
        check(width=value)


@pytest.mark.parametrize("check", [positive, whole, fraction, finite])
@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
def test_what_is_not_finite_is_refused(check, value):
    with pytest.raises(ValueError, match=rf"^width = {value} must "):
        check(width=value)


@pytest.mark.parametrize("check", [positive, whole, fraction])
@pytest.mark.parametrize("value", [0, -1, -0.5])
def test_zero_and_negative_are_refused(check, value):
    with pytest.raises(ValueError, match=rf"^width = {value} must "):
        check(width=value)


def test_zero_passes_where_it_is_allowed_and_negative_does_not():
    positive(True, width=0)
    whole(True, width=[0, 1])
    for check in (positive, whole):
        with pytest.raises(ValueError, match=r"width = -1 must be finite and not negative\."):
            check(True, width=-1)


def test_rules_of_each():
    positive(a=1, b=0.5, c=np.float32(2), d=[1, 2], e=np.ones((2, 2)))
    whole(a=1, b=4096.0, c=[1, 2], d=np.arange(1, 4, dtype=np.uint8))
    fraction(a=1, b=1e-9, c=[0.5, 1.0])
    finite(a=0, b=-1.5, c=[0.0, 1e308])
    with pytest.raises(ValueError, match=r"b = 1\.5 must be a whole number"):
        whole(a=1, b=1.5)
    with pytest.raises(ValueError, match=r"b = 1\.01 must lie above 0 and at most at 1"):
        fraction(a=1, b=1.01)


def test_first_bad_element_of_an_array_is_named():
    with pytest.raises(ValueError, match=r"^n = -3 must be finite and above zero\.$"):
        positive(n=np.array([[1, 2], [-3, -4]]))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_whole_takes_exactly_the_positive_integers(number):
    counts = 0 < number < INFINITY and number == int(number)
    if counts:
        whole(n=number)
    else:
        with pytest.raises(ValueError, match="n = "):
            whole(n=number)


def test_unknown_name_offers_the_nearest():
    assert choose("fp8", BITS, "precision") == "fp8"
    with pytest.raises(UnknownName, match=r"^precision 'bf61' is unknown\. Nearest known: bf16"):
        choose("bf61", BITS, "precision")
    with pytest.raises(KeyError):
        choose("bf61", BITS, "precision")


def test_unknown_name_that_resembles_nothing_lists_what_there_is():
    with pytest.raises(UnknownName, match=r"^thing 'qqq' is unknown\. Known: a0, .* and 3 more\.$"):
        choose("qqq", [f"a{n}" for n in range(15)], "thing")


@pytest.mark.parametrize("wrong", [None, 7, ["fp8"], b"fp8"])
def test_a_name_that_is_no_text_is_unknown(wrong):
    with pytest.raises(UnknownName, match=r"precision .* is unknown"):
        choose(wrong, BITS, "precision")


# Bits by the definition of each format; block formats add their 8-bit scale (OCP MX 1.0; NVFP4).
STORED = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "fp4": 1 / 2,
          "int64": 8, "int32": 4, "int8": 1, "int4": 1 / 2, "int1": 1 / 8,
          "mxfp8": (32 * 8 + 8) / 8 / 32, "mxfp6": (32 * 6 + 8) / 8 / 32,
          "mxfp4": (32 * 4 + 8) / 8 / 32, "nvfp4": (16 * 4 + 8) / 8 / 16}  # fmt: skip


@pytest.mark.parametrize(("precision", "size"), STORED.items(), ids=STORED.keys())
def test_size_of_an_element(precision, size):
    assert itemsize(precision) == element_size(precision) == size


def test_element_size_takes_bytes_and_refuses_nonsense():
    assert element_size(0.5) == 0.5
    assert (element_size(np.array([1, 2])) == [1, 2]).all()
    with pytest.raises(ValueError, match="precision = 0 must be finite and above zero"):
        element_size(0)
    with pytest.raises(UnknownName, match="Nearest known: fp16"):
        element_size("float16")
