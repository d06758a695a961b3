"""What splitting must never change, and what the pieces must say."""

import time
from collections import Counter
from dataclasses import replace

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
    Stage,
    State,
    by_head,
    by_layer,
    by_part,
    by_tokens,
    merge,
    pieces,
)

LLAMA = model("llama-3-8b")
OTHER = replace(LLAMA, layers=LLAMA.layers[:3])
MODELS = ("llama-2-7b", "llama-3-8b", "falcon-7b", "gemma-3-4b", "mixtral-8x7b", "deepseek-v2-lite")
AXES = {
    "layer": by_layer,
    "head": by_head,
    "part": by_part,
    "tokens": lambda split: by_tokens(split, sinks=4, recent=100),
}
KEPT = ("bytes", "touched", "flop", "appended", "dropped", "renewed")
KINDS = (*MODELS, "gpt-oss-120b", "deepseek-v3")  # MHA GQA MQA MLA, windows, hybrids, experts
BITS = {"fp16": 16, "fp8": 8, "int4": 4, "mxfp4": 4.25}


@st.composite
def requests(draw):
    prefix = draw(st.sampled_from([0, 0, 3, 700]))
    new = draw(st.integers(1, 4))
    own = draw(st.lists(st.integers(new, 3000), min_size=1, max_size=4))
    kinds = [None, None, Sparse(4, 64, 0.1), Sparse(0, 0, 1.0)]
    sparse = None if prefix else draw(st.sampled_from(kinds))
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


@settings(max_examples=60)
@given(
    st.sampled_from(KINDS), st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    st.sampled_from(sorted(BITS)),
)  # fmt: skip
def test_bytes_are_those_of_the_footprint(name, contexts, kv_precision):
    served = model(name)
    found = pieces(State([Requests(served, contexts)], kv_precision=kv_precision))
    held = [cache_bytes(served, batch=1, context=n, kv_precision=kv_precision) for n in contexts]
    assert_allclose(found.bytes.sum(), sum(held), rtol=1e-12)


def counted(state, served):
    """Count a cache token by token and reader by reader, layer by layer."""
    size, element = BITS[state.kv_precision or state.precision] / 8, BITS[state.precision] / 8
    total = Counter()
    for layer in served.layers:
        a = layer.attention
        latent = a.kind == "MLA"
        key, value = (a.kv_rank + a.rope_dim, a.kv_rank) if latent else (a.head_dim, a.head_dim)
        row = (key if latent else 2 * a.kv_heads * a.head_dim) * size
        for number, group in enumerate(state.groups):
            new, readers = group.query_tokens, Counter()
            for request, context in enumerate(group.context):
                seen = min(context, a.window + new - 1) if a.window else context
                for place in range(context - seen, context):
                    owner = "all" if place < group.prefix else request
                    readers[number, owner, place] += 1
                total["appended"] += new * row * group.active
                total["queries"] += new * a.heads * key * element * group.active
            reads = sum(readers.values()) * group.active
            total["bytes"] += len(readers) * row
            total["touched"] += len(readers) * row * group.active
            total["flop"] += reads * new * a.heads * 2 * (key + value)
    return total


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(KINDS), st.sampled_from(sorted(BITS)))
def test_pieces_are_what_counting_tokens_one_by_one_gives(data, name, kv_precision):
    served = model(name)
    served = replace(served, layers=served.layers[:1] + served.layers[-2:])
    groups = [
        Requests(
            served, data.draw(st.lists(st.integers(60, 1300), min_size=1, max_size=3)),
            prefix=data.draw(st.sampled_from([0, 7, 50])), query_tokens=new, accepted=1.0,
            active=data.draw(st.booleans()),
        )
        for new in data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    ]  # fmt: skip
    state = State(groups, kv_precision=kv_precision)
    found, total = pieces(state), counted(state, served)
    for column in ("bytes", "touched", "flop", "appended"):
        assert_allclose(getattr(found, column).sum(), total[column], rtol=1e-12)
    private = found.tokens != "prefix"  # who reads a prefix as well sends queries to it as well
    assert_allclose(found.queries[private].sum(), total["queries"], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "group"),
    [("llama-2-7b", 1), ("llama-3-8b", 4), ("falcon-7b", 71), ("gpt-oss-120b", 8)],
)
def test_reuse_is_query_rows_times_two_over_the_bytes_of_an_element(name, group):
    for new, sharers, bits in [(1, 1, 16), (4, 1, 16), (1, 64, 16), (4, 64, 4), (1, 1, 8)]:
        requests = Requests(
            model(name), [3000] * sharers, prefix=2900, query_tokens=new, accepted=1.0
        )
        kv_precision = next(p for p, b in BITS.items() if b == bits)
        found = pieces(State([requests], kv_precision=kv_precision))
        full = np.array([not found.stages[n].kind.count("window") for n in found.stage])
        prefix = found.tokens == "prefix"
        per_row = group * new * 16 / bits
        assert_allclose(found.reuse[full & prefix], per_row * sharers)
        assert_allclose(found.reuse[full & ~prefix], per_row)


def test_bytes_live_until_their_request_ends_or_their_window_moves_on():
    gemma = model("gemma-3-27b")
    long, short = [
        pieces(State([Requests(gemma, [5000] * 3, lifetime=steps)])) for steps in (np.inf, 100.0)
    ]
    assert_allclose(long.lifetime, [1024, np.inf])
    assert_allclose(short.lifetime, [1 / (1 / 1024 + 1 / 100), 100])
    young = pieces(State([Requests(gemma, [500], lifetime=100.0)]))
    assert_allclose(young.lifetime, [100, 100])  # no window is full
    shared = State([Requests(LLAMA, [900] * 4, prefix=600, lifetime=50.0, prefix_lifetime=9000.0)])
    assert_allclose(pieces(shared).lifetime, [50, 9000])
    fast = pieces(State([Requests(gemma, [5000], query_tokens=4, accepted=2.0)]))
    assert_allclose(fast.lifetime[0], 1027 / 4)


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
    apart = State([Requests(LLAMA, [int(n)]) for n in lengths])  # a thousand groups, not one
    assert len(pieces(apart)) == 1
    assert_allclose(pieces(apart).bytes[0], pieces(State([Requests(LLAMA, lengths)])).bytes[0])


def test_a_thousand_requests_take_little_time():
    lengths = np.random.default_rng(0).integers(100, 10_000, 1000)
    state = State([Requests(LLAMA, [int(n)]) for n in lengths])
    start = time.perf_counter()
    pieces(state)
    assert time.perf_counter() - start < 1.0  # 0.05 s on a slow core


def test_keys_and_values_know_each_other():
    state = State([Requests(LLAMA, [100]), Requests(LLAMA, [90], prefix=9)])
    split = by_head(by_part(pieces(state)))
    assert len(split.parted) == len(split) // 2
    for keys, values in split.parted:
        assert split.names[keys].replace(" K ", " V ") == split.names[values]
    assert pieces(State([Requests(LLAMA, [100])])).parted == ()


def test_a_part_of_the_tokens_gets_queries_from_those_who_have_such_tokens():
    whole = pieces(State([Requests(LLAMA, [50, 5000, 5000, 5000])]))
    ranges = by_tokens(whole, sinks=4, recent=100)
    assert ranges.tokens.tolist() == ["sink", "middle", "recent"]
    for column in ("queries", "results", "units"):
        part = getattr(ranges, column) / getattr(whole, column)
        assert_allclose(part, [1, 0.75, 1])  # the short one has no middle
    assert_allclose(ranges.appended / whole.appended, [0, 0, 1])
    assert_allclose(by_layer(whole).units, 4 * 8)
    assert_allclose(by_head(by_layer(whole)).units, 4)


def test_queries_go_to_the_keys_and_results_come_from_the_values():
    whole = pieces(State([Requests(LLAMA, [3000] * 5)], precision="fp16", kv_precision="fp8"))
    keys, values = by_part(whole).take([0]), by_part(whole).take([1])
    assert (keys.part[0], values.part[0]) == ("K", "V")
    assert_allclose([keys.queries[0], values.queries[0]], [32 * 5 * 32 * 128 * 2, 0])
    assert_allclose([keys.results[0], values.results[0]], [0, 32 * 5 * 32 * (128 * 2 + 8)])
    for part in (keys, values):  # one pair of places, one journey of a score a head and token
        assert_allclose(part.scores, 32 * 5 * 32 * 3000 * 2)
        assert_allclose(part.units, 5 * 8)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Requests(LLAMA, [10], prefix=10), r"context = 10 is shorter than prefix \+ new"),
        (lambda: Requests(LLAMA, [10.5]), r"context = 10\.5 must be a whole number"),
        (lambda: Requests(LLAMA, []), r"context of shape \(0,\) must be one length"),
        (lambda: Requests(LLAMA, [[10, 20]]), r"context of shape \(1, 2\) must be one length"),
        (lambda: Requests(LLAMA, [-3]), r"context = -3 must be finite and above zero"),
        (lambda: Requests(LLAMA, [np.nan]), r"context = nan must be"),
        (lambda: Requests(LLAMA, [10], query_tokens=0), r"query_tokens = 0 must be"),
        (lambda: Requests(LLAMA, [10], query_tokens=2), "not how many are accepted"),
        (lambda: Requests(LLAMA, [9], query_tokens=2, accepted=0), r"accepted = 0 must lie from 1"),
        (lambda: Requests(LLAMA, [9], query_tokens=2, accepted=3), r"accepted = 3 .* = 2: a step"),
        (lambda: Requests(LLAMA, [9], query_tokens=2, accepted=np.nan), "accepted = nan must lie"),
        (lambda: Requests(LLAMA, [9], accepted=2), r"accepted = 2 must lie from 1 to .* = 1"),
        (lambda: Requests(LLAMA, [10], lifetime=0), "lifetime = 0 steps must be one number above"),
        (lambda: Requests(LLAMA, [10], lifetime=np.nan), "lifetime = nan steps must be"),
        (lambda: Requests(LLAMA, [10], prefix_lifetime=-2), "prefix_lifetime = -2 steps must be"),
        (lambda: Requests(LLAMA, [9], prefix=4, sparse=Sparse(1, 1, 0.5)), "Give one or the other"),
        (lambda: State([Requests(LLAMA, [9])], kv_precision="int3"), "precision 'int3' is unknown"),
        (lambda: State([Requests(LLAMA, [9]), Requests(OTHER, [9])]), "two different models are"),
        (lambda: Prefix(LLAMA, 10, 8, 2), r"sharers = 8 must lie from 1 to readers = 2"),
        (lambda: Prefix(LLAMA, 10, 0.5, 2), r"sharers = 0\.5 must lie from 1"),
        (lambda: Prefix(LLAMA, 10, 2, 2, lifetime=0), "lifetime = 0 steps must be"),
        (lambda: Stage("a", "GQA", 0), "layers = 0 must be"),
        (lambda: Sparse(4, 4, 1.5), r"fraction = 1\.5 of the tokens must not exceed 1"),
        (lambda: State([]), "0 groups serves nobody"),
        (lambda: Prefix(model("gemma-3-4b"), 10, 2, 2), "has windows"),
        (lambda: Prefix(LLAMA, 0, 2, 2), r"tokens = 0 must be finite and above zero"),
    ],
)
def test_wrong_states_are_refused(build, message):
    with pytest.raises((ValueError, UnknownName), match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Requests("llama-3-8b", [10]), r"model = 'llama-3-8b' is a str: give kvlib\.model"),
        (lambda: Requests(LLAMA, ["a"]), "must be a number"),
        (lambda: Requests(LLAMA, [10, 20], prefix=[1, 2]), r"prefix = \[1, 2\] must be one number"),
        (lambda: Requests(LLAMA, [10], query_tokens=[1]), "query_tokens = .* must be one number"),
        (lambda: Requests(LLAMA, [10], active="no"), "active = 'no' is a str: give True or False"),
        (lambda: Requests(LLAMA, [10], sparse=0.1), r"sparse = 0\.1 is a float: give Sparse"),
        (lambda: Prefix("llama-3-8b", 10, 2, 2), "model = 'llama-3-8b' is a str"),
        (lambda: State(Requests(LLAMA, [10])), r"write State\(\[Requests"),
        (lambda: State([LLAMA]), "group = .* give Requests or Prefix"),
        (lambda: Sparse([1], 2, 0.5), "sinks = .* must be one number"),
    ],
)
def test_wrong_types_are_refused(build, message):
    with pytest.raises(TypeError, match=message):
        build()


def test_pieces_without_bytes_and_unknown_axes_are_refused():
    found = pieces(State([Requests(LLAMA, [100])]))
    with pytest.raises(ValueError, match=r"'llama-3-8b GQA' holds 0\.0 bytes: leave out"):
        found.take([0], bytes=np.zeros(1))
    with pytest.raises(ValueError, match=r"touched = -1\.0 must be"):
        found.take([0], touched=-np.ones(1))
    with pytest.raises(ValueError, match="column 'stage' has 1 entries for 3 pieces"):
        found.take([0], bytes=np.ones(3))
    assert len(merge(found.take([]))) == 0
    with pytest.raises(UnknownName, match="axis of splitting 'layers'"):
        found.groups("layers")
    assert isinstance(found, Pieces)
