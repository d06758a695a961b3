"""A quoted figure carries its source until somebody computes with it."""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib.quoted import BASES, Quoted


def quote(value=3.35e12, **changes):
    given = {"source": "nvidia2023h100", "basis": "vendor", "unit": "TB/s", "note": "peak"}
    return Quoted(value, **{**given, "low": 3.07e12, "high": 3.4e12, **changes})


def facts(figure):
    return [figure, *(getattr(figure, name) for name in Quoted.__slots__)]


BINARY = (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv,
          operator.mod, operator.pow)  # fmt: skip


@pytest.mark.parametrize("operate", BINARY, ids=lambda operate: operate.__name__)
def test_arithmetic_forgets_the_source(operate):
    figure = quote(4.0, low=None, high=None)
    for result in (operate(figure, 2), operate(2, figure), operate(figure, figure)):
        assert type(result) is float
    assert operate(figure, 2) == operate(4.0, 2)


def test_sign_rounding_and_numpy_forget_it_too():
    figure = quote()
    for result in (
        -figure,
        +figure,
        abs(figure),
        round(figure, 2),
        figure * np.ones(2),
        sum([figure]),
    ):
        assert not isinstance(result, Quoted)


def test_it_is_a_number_in_every_other_way():
    figure = quote()
    assert figure == 3.35e12
    assert hash(figure) == hash(3.35e12)
    assert f"{figure:.2e}" == "3.35e+12"
    assert str(figure) == "3350000000000.0"
    assert repr(figure) == "Quoted(3350000000000.0, source='nvidia2023h100', basis='vendor')"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(protocol):
    again = pickle.loads(pickle.dumps(quote(), protocol))
    assert type(again) is Quoted
    assert facts(again) == facts(quote())


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copying_keeps_everything(duplicate):
    again = duplicate(quote())
    assert type(again) is Quoted
    assert facts(again) == facts(quote())


def test_nothing_can_be_changed_or_added():
    for name in ("source", "value", "anything"):
        with pytest.raises(AttributeError, match=f"cannot set '{name}'. Quote a new one"):
            setattr(quote(), name, "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": float("nan")}, "is not finite"),
        ({"value": float("inf")}, "is not finite"),
        ({"source": ""}, "has no source. Give the key"),
        ({"basis": "hearsay"}, "basis 'hearsay' is unknown. Choose one of vendor, measured"),
        ({"low": 3.4e12}, "lies outside its own range"),
        ({"high": 3.3e12}, "lies outside its own range"),
    ],
)
def test_a_figure_that_cannot_be_believed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        quote(**changes)


def test_source_and_basis_must_be_given():
    with pytest.raises(TypeError, match="source"):
        Quoted(1.0, basis="vendor")
    with pytest.raises(TypeError, match="basis"):
        Quoted(1.0, source="someone2026")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(BASES))
def test_any_finite_number_survives_a_round_trip(value, basis):
    figure = Quoted(value, source="someone2026", basis=basis)
    assert facts(pickle.loads(pickle.dumps(figure))) == facts(figure)
    assert type(figure * 1) is float
