"""What splitting must never change, and what the pieces must say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kvlib import model
from kvlib.attention import reuse
from kvlib.checks import UnknownName
from kvlib.footprint import cache_bytes
from kvlib.phases import decode_step
from kvlib.segments import (
    Pieces,
    Prefix,
    Requests,
    Sparse,
    State,
    by_head,
    by_layer,
    by_part,
    by_tokens,
    merge,
    pieces,
)

LLAMA = model("llama-3-8b")
MODELS = ("llama-2-7b", "llama-3-8b", "falcon-7b", "gemma-3-4b", "mixtral-8x7b", "deepseek-v2-lite")
AXES = {
    "layer": by_layer,
    "head": by_head,
    "part": by_part,
    "tokens": lambda split: by_tokens(split, sinks=4, recent=100),
}
KEPT = ("bytes", "touched", "flop", "appended", "renewed")


@st.composite
def requests(draw):
    prefix = draw(st.sampled_from([0, 0, 3, 700]))
    new = draw(st.integers(1, 4))
    own = draw(st.lists(st.integers(new, 3000), min_size=1, max_size=4))
    sparse = draw(st.sampled_from([None, None, Sparse(4, 64, 0.1), Sparse(0, 0, 1.0)]))
    return Requests(
        model(draw(st.sampled_from(MODELS))), [prefix + length for length in own], prefix=prefix,
        query_tokens=new, accepted=1.0, lifetime=draw(st.sampled_from([np.inf, 100.0])),
        active=draw(st.booleans()), sparse=sparse,
    )  # fmt: skip


states = st.lists(requests(), min_size=1, max_size=3).map(State)


@settings(max_examples=150)
@given(states, st.lists(st.sampled_from(sorted(AXES)), max_size=3, unique=True))
def test_no_split_loses_a_byte_or_changes_the_reuse(state, axes):
    split = whole = pieces(state)
    for axis in axes:
        split = AXES[axis](split)
    for column in KEPT:
        assert_allclose(getattr(split, column).sum(), getattr(whole, column).sum(), rtol=1e-9)
    for r in split.reuse:
        assert np.isclose(r, whole.reuse).any()
    assert np.all(split.touched <= split.bytes * (1 + 1e-12))
    assert len(merge(split)) <= len(split)
    assert len(set(split.names)) == len(split)


@settings(max_examples=30)
@given(states, st.permutations(["head", "part", "tokens"]))
def test_axes_compose_in_any_order(state, axes):
    one = two = pieces(state)
    for axis in axes:
        one = AXES[axis](one)
    for axis in reversed(axes):
        two = AXES[axis](two)
    for column in (*KEPT, "queries", "results", "units"):
        found = [dict(zip(p.names, getattr(p, column), strict=True)) for p in (one, two)]
        assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("new", [1, 4])
def test_pieces_agree_with_the_step_and_the_footprint(name, new):
    served = model(name)
    found = pieces(State([Requests(served, [900] * 8, query_tokens=new, accepted=1.0)]))
    step = decode_step(served, batch=8, context=900, query_tokens=new)
    assert_allclose(found.touched.sum(), step.kv_read, rtol=1e-12)
    assert_allclose(found.appended.sum(), step.kv_written, rtol=1e-12)
    held = cache_bytes(served, batch=8, context=900)
    assert_allclose(found.bytes.sum(), held, rtol=0.004)  # new tokens wait for their window
    kinds = [layer.attention for layer in served.groups]
    assert_allclose(found.reuse, [reuse(kind, query_tokens=new) for kind in kinds], rtol=1e-12)


def test_a_prefix_is_held_once_and_met_by_all():
    shared = pieces(State([Requests(LLAMA, [5000] * 64, prefix=4000)]))
    alone = pieces(State([Requests(LLAMA, [5000] * 64)]))
    assert shared.names == ("llama-3-8b GQA", "llama-3-8b GQA prefix x64")
    assert_allclose(shared.bytes, [64 * 1000 * 131072, 4000 * 131072])
    assert_allclose(shared.reuse, [4, 256])
    assert_allclose(shared.flop.sum(), alone.flop.sum())


def test_kernels_that_do_not_deduplicate_read_the_prefix_for_each():
    state = State([Requests(LLAMA, [5000] * 64, prefix=4000)])
    found = pieces(state, deduplicated=False)
    assert_allclose(found.bytes, pieces(state).bytes)
    assert_allclose(found.touched, [64 * 1000 * 131072, 64 * 4000 * 131072])
    assert_allclose(found.reuse, [4, 4])


def test_a_window_does_not_reach_a_prefix_behind_it():
    gemma = model("gemma-3-4b")
    found = pieces(State([Requests(gemma, [9000, 4500], prefix=4000)]))
    table = dict(zip(found.names, found.bytes, strict=True))
    window = next(layer for layer in gemma.groups if layer.attention.window)
    token = gemma.groups[window] * window.attention.kv_elements * 2
    assert table["gemma-3-4b GQA window 1024"] == (1024 + 500) * token
    assert table["gemma-3-4b GQA window 1024 prefix"] == 524 * token
    assert "gemma-3-4b GQA prefix x2" in table


def test_prefixes_of_several_levels_add_up():
    state = State([
        Requests(LLAMA, [1000] * 8), Prefix(LLAMA, 2000, sharers=8, readers=8),
        Prefix(LLAMA, 500, sharers=8, readers=8), Prefix(LLAMA, 300, sharers=2, readers=6),
    ])  # fmt: skip
    found = pieces(state)
    assert_allclose(found.reuse, [4, 32, 8])
    assert_allclose(found.bytes[1], 2500 * 131072)


def test_idle_sessions_are_held_and_not_read():
    found = pieces(State([Requests(LLAMA, [1000] * 2), Requests(LLAMA, [3000], active=False)]))
    assert found.names == ("llama-3-8b GQA", "llama-3-8b GQA idle")
    assert found.touched[1] == found.reuse[1] == found.queries[1] == found.appended[1] == 0
    assert found.bytes[1] == 3000 * 131072
    assert State([Requests(LLAMA, [3000], active=False)]).gained == 0


def test_a_thousand_requests_stay_small():
    lengths = np.random.default_rng(0).integers(100, 10_000, 1000)
    mixed = State([
        Requests(LLAMA, lengths), Requests(LLAMA, lengths + 2048, prefix=2048),
        Requests(LLAMA, lengths, query_tokens=4, accepted=2.0),
    ])  # fmt: skip
    assert len(pieces(mixed)) == 3
    assert mixed.gained == 1000 + 1000 + 2000


def test_keys_and_values_know_each_other():
    state = State([Requests(LLAMA, [100]), Requests(LLAMA, [90], prefix=9)])
    split = by_head(by_part(pieces(state)))
    assert len(split.parted) == len(split) // 2
    for keys, values in split.parted:
        assert split.names[keys].replace(" K ", " V ") == split.names[values]
    assert pieces(State([Requests(LLAMA, [100])])).parted == ()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Requests(LLAMA, [10], prefix=10), r"context = 10 is shorter than prefix \+ new"),
        (lambda: Requests(LLAMA, [10.5]), r"context = 10\.5 must be a whole number"),
        (lambda: Requests(LLAMA, [10], query_tokens=2), "not how many are accepted"),
        (lambda: Requests(LLAMA, [10], lifetime=0), "lifetime = 0 steps must be above 0"),
        (lambda: Sparse(4, 4, 1.5), r"fraction = 1\.5 of the tokens must not exceed 1"),
        (lambda: State([]), "0 groups serves nobody"),
        (lambda: Prefix(model("gemma-3-4b"), 10, 2, 2), "has windows"),
        (lambda: Prefix(LLAMA, 0, 2, 2), r"tokens = 0 must be finite and above zero"),
    ],
)
def test_wrong_states_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_pieces_without_bytes_and_unknown_axes_are_refused():
    found = pieces(State([Requests(LLAMA, [100])]))
    with pytest.raises(ValueError, match=r"'llama-3-8b GQA' holds 0\.0 bytes: leave out"):
        found.take([0], bytes=np.zeros(1))
    with pytest.raises(ValueError, match=r"touched = -1\.0 must be"):
        found.take([0], touched=-np.ones(1))
    with pytest.raises(UnknownName, match="axis of splitting 'layers'"):
        found.groups("layers")
    assert isinstance(found, Pieces)
