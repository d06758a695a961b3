"""Shapes of a transformer against parameter counts that others print, and against hand formulas."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import model
from kvlib.checks import UnknownName
from kvlib.workload import (
    Attention,
    Experts,
    FeedForward,
    LatentAttention,
    Layer,
    Transformer,
)

LLAMA = {"position": "rope", "tied_embeddings": False}
GPT = {"position": "learned", "tied_embeddings": True, "biases": True}


def stack(attention, network, *, layers, hidden, vocabulary, max_context=2048, **rest):
    return Transformer(
        name="made", title="Made", family="Made", layers=(Layer(attention, network),) * layers,
        hidden=hidden, vocabulary=vocabulary, max_context=max_context, **{**LLAMA, **rest},
    )  # fmt: skip


# Counted over the tensors of the published checkpoints.
COUNTED = {
    "Llama 2 7B": (
        stack(Attention(32, 32, 128), FeedForward(11008, True), layers=32, hidden=4096,
              vocabulary=32000),
        6_738_415_616,
    ),
    "Llama 3 8B": (
        stack(Attention(32, 8, 128), FeedForward(14336, True), layers=32, hidden=4096,
              vocabulary=128256),
        8_030_261_248,
    ),
    "Mixtral 8x7B": (
        stack(Attention(32, 8, 128), Experts(8, 2, 14336, True), layers=32, hidden=4096,
              vocabulary=32000),
        46_702_792_704,
    ),
    "GPT-2": (
        stack(Attention(12, 12, 64), FeedForward(3072, False), layers=12, hidden=768,
              vocabulary=50257, max_context=1024, **GPT),
        124_439_808,
    ),
    "GPT-2 with biases said twice": (
        stack(Attention(12, 12, 64, bias=True), FeedForward(3072, False), layers=12, hidden=768,
              vocabulary=50257, max_context=1024, **GPT),
        124_439_808,
    ),
    "Qwen2.5 7B": (
        stack(Attention(28, 4, 128, bias=True), FeedForward(18944, True), layers=28, hidden=3584,
              vocabulary=152064),
        7_615_616_512,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "count"), COUNTED.values(), ids=COUNTED.keys())
def test_parameters_equal_the_checkpoint(made, count):
    assert made.parameters == count


# KiB per token at fp16: 2 x layers x KV heads x head size x 2 B.
KV_KIB = {
    "llama-2-7b": 2 * 32 * 32 * 128 * 2 / 1024,  # 512
    "llama-2-70b": 2 * 80 * 8 * 128 * 2 / 1024,  # 320
    "llama-3-8b": 2 * 32 * 8 * 128 * 2 / 1024,  # 128
    "gpt-3-175b": 2 * 96 * 96 * 128 * 2 / 1024,  # 4,608
}


@pytest.mark.parametrize(("name", "size"), KV_KIB.items())
def test_cache_of_a_token_equals_the_hand_formula(name, size):
    assert model(name).kv_bytes_per_token("fp16") == size * 1024
    assert model(name).kv_bytes_per_token("fp8") == size * 512


def test_latent_attention_counts_by_hand():
    # DeepSeek-V2 and V3: 512 + 64 elements a token and layer.
    attention = LatentAttention(
        heads=128, kv_rank=512, q_rank=1536, nope_dim=128, rope_dim=64, value_dim=128
    )
    made = stack(attention, FeedForward(1, True), layers=61, hidden=7168, vocabulary=1)
    assert made.kv_bytes_per_token("fp16") / 1024 == 61 * 576 * 2 / 1024
    queries = 7168 * 1536 + 1536 + 1536 * 128 * 192
    cached = 7168 * 576 + 512 + 512 * 128 * 256
    assert attention.parameters(7168) == queries + cached + 128 * 128 * 7168
    whole_queries = replace(attention, q_rank=0)
    assert whole_queries.parameters(7168) == 7168 * 128 * 192 + cached + 128 * 128 * 7168
    assert (attention.kind, attention.group) == ("MLA", 128)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "kind"), [(32, 32, "MHA"), (32, 8, "GQA"), (32, 1, "MQA"), (1, 1, "MHA")]
)
def test_kind_of_attention(heads, kv_heads, kind):
    attention = Attention(heads, kv_heads, 64)
    assert (attention.kind, attention.group) == (kind, heads // kv_heads)
    assert attention.kv_elements == 2 * kv_heads * 64


def test_experts_that_are_met_and_those_that_are_not():
    network = Experts(count=8, active=2, width=10, gated=True, shared=1, shared_width=5)
    router = 4 * 8
    assert network.parameters(4) == 3 * 4 * (8 * 10 + 5) + router
    assert network.active_parameters(4) == 3 * 4 * (2 * 10 + 5) + router
    as_wide = Experts(count=8, active=2, width=10, gated=False, shared=1)
    assert as_wide.parameters(4) == 2 * 4 * (8 * 10 + 10) + router


def test_equal_layers_are_grouped_in_order():
    wide = Layer(Attention(4, 4, 8), FeedForward(16, False))
    narrow = Layer(Attention(4, 1, 8, window=4), FeedForward(16, False))
    made = stack(wide.attention, wide.feed_forward, layers=1, hidden=32, vocabulary=10)
    mixed = replace(made, layers=(wide, narrow, wide))
    assert list(mixed.groups.items()) == [(wide, 2), (narrow, 1)]
    assert mixed.attention_kinds == ("MHA", "MQA")
    assert mixed.kv_bytes_per_token("int8") == 2 * 64 + 16


def test_a_transformer_is_a_value():
    made = COUNTED["GPT-2"][0]
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert hash(again) == hash(made)
    assert again.parameters == made.parameters


SHAPE = st.integers(1, 64)


@given(SHAPE, SHAPE, SHAPE, SHAPE, st.booleans())
def test_adding_a_layer_adds_its_weights(kv_heads, group, width, layers, gated):
    parts = Attention(kv_heads * group, kv_heads, 8), FeedForward(width, gated)
    few, more = (stack(*parts, layers=n, hidden=16, vocabulary=7) for n in (layers, layers + 1))
    expected = parts[0].parameters(16) + parts[1].parameters(16) + 2 * 16
    assert more.parameters - few.parameters == expected
    assert few.active_parameters == few.parameters
    assert more.kv_bytes_per_token() * layers == few.kv_bytes_per_token() * (layers + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(32, 6, 128), "kv_heads = 6 must divide heads = 32"),
        (lambda: Attention(0, 1, 128), "heads = 0 must be finite and above zero"),
        (lambda: Attention(32, 8, 128.5), "head_dim = 128.5 must be a whole number"),
        (lambda: Attention(32, 8, 128, window=0), "window = 0 must be"),
        (lambda: FeedForward(-1, True), "width = -1 must be"),
        (lambda: FeedForward(float("nan"), True), "width = nan must be"),
        (lambda: Experts(8, 9, 10, True), "active = 9 experts per token, but there are only 8"),
        (lambda: Experts(8, 2, 10, True, shared=-1), "shared = -1 must be"),
        (lambda: stack(Attention(1, 1, 1), FeedForward(1, True), layers=0, hidden=1, vocabulary=1),
         "has 0 layers"),
        (lambda: stack(Attention(1, 1, 1), FeedForward(1, True), layers=1, hidden=0, vocabulary=1),
         "hidden = 0 must be"),
    ],
)  # fmt: skip
def test_impossible_shapes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_position_and_precision_offer_what_there_is():
    made = COUNTED["GPT-2"][0]
    with pytest.raises(UnknownName, match=r"position 'ropes' is unknown. Nearest known: rope"):
        replace(made, position="ropes")
    with pytest.raises(UnknownName, match=r"precision 'fp61' is unknown. Nearest known: .*fp16"):
        made.kv_bytes_per_token("fp61")
