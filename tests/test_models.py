"""Models have the size their authors print, and a cache of the size a hand formula gives."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import device, model, models
from kvlib.catalogue._shelf import catalogue_names
from kvlib.footprint import tokens, weight_bytes
from kvlib.precision import itemsize
from kvlib.units import GB, KiB
from kvlib.workload import Attention, FeedForward, Layer, Transformer


def numbers(table):
    """Sections of a card with the bare value of every field."""
    return {
        key: numbers(value) if isinstance(value, dict) and "value" not in value
        else value["value"] if isinstance(value, dict) else value
        for key, value in table.items()
    }  # fmt: skip


def by_hand(card):
    """Parameters and cached elements per token, from the bare numbers of a card.

    Written apart from `workload`: matrices only, no norms and no biases.
    """
    shape, attention = card["model"], card["attention"]
    hidden, layers, heads = shape["hidden"], shape["layers"], attention["heads"]
    if attention["kind"] == "MLA":
        rank, rope, nope = attention["kv_rank"], attention["rope_dim"], attention["nope_dim"]
        query_rank, value = attention["q_rank"], attention["value_dim"]
        queries = heads * (nope + rope)
        projections = hidden * (rank + rope) + rank * heads * (nope + value)
        projections += query_rank * (hidden + queries) if query_rank else hidden * queries
        projections += heads * value * hidden
        cached = layers * (rank + rope)
    else:
        head_dim, kv_heads = attention["head_dim"], attention["kv_heads"]
        projections = 2 * hidden * head_dim * (heads + kv_heads)
        cached = layers * 2 * kv_heads * head_dim
    total = layers * projections
    dense, experts = card.get("ffn", {}), card.get("experts")
    for layer in range(layers):
        pattern = experts.get("pattern", "E") if experts else "D"
        first = experts.get("dense_first", 0) if experts else 0
        if layer < first or pattern[layer % len(pattern)] == "D":
            total += (3 if dense["gated"] else 2) * hidden * dense["width"]
        else:
            width = experts["width"]
            shared = experts.get("shared", 0) * (experts.get("shared_width", 0) or width)
            matrices = 3 if experts["gated"] else 2
            total += matrices * hidden * (experts["count"] * width + shared)
            total += hidden * experts["count"]
    total += hidden * shape["vocabulary"] * (1 if shape["tied_embeddings"] else 2)
    if shape["position"] == "learned":
        total += hidden * shape["max_context"]
    return total, cached


@pytest.mark.parametrize("name", models())
def test_parameters_are_those_published(name):
    found = model(name)
    assert found.parameters == pytest.approx(found.published["parameters"], rel=0.015)


@pytest.mark.parametrize("name", models())
def test_parameters_and_cache_are_those_counted_by_hand(name):
    card = numbers(tomllib.loads(catalogue_names("models")[name].read_text(encoding="utf-8")))
    total, cached = by_hand(card)
    found = model(name)
    assert found.kv_bytes_per_token("fp16") == 2 * cached
    assert 0 <= found.parameters - total <= 0.005 * total  # norms and biases


@pytest.mark.parametrize(
    "name", [name for name in models() if "active_parameters" in model(name).published]
)
def test_active_parameters_are_those_published(name):
    """Some authors count the tables of the vocabulary, some one of the two, some neither."""
    found = model(name)
    tables = found.vocabulary * found.hidden * (1 if found.tied_embeddings else 2)
    published = found.published["active_parameters"]
    assert 0.985 * (found.active_parameters - tables) <= published
    assert published <= 1.015 * found.active_parameters


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("llama-2-7b", 512),
        ("llama-2-70b", 320),
        ("llama-3-8b", 128),
        ("gpt-3-175b", 4608),
        ("falcon-7b", 8),
    ],
)
def test_cache_per_token(name, kib):
    assert model(name).kv_bytes_per_token("fp16") == kib * KiB


def test_cache_per_token_of_a_latent_cache():
    assert model("deepseek-v3").kv_bytes_per_token("fp16") / KiB == pytest.approx(68.6, abs=0.05)
    assert model("deepseek-v3").kv_bytes_per_token("fp16") == 61 * (512 + 64) * 2


@pytest.mark.parametrize(
    ("name", "windows", "full"),
    [
        ("gemma-2-27b", 23, 23),
        ("gemma-3-27b", 52, 10),
        ("gpt-oss-20b", 12, 12),
        ("llama-3-8b", 0, 32),
    ],
)
def test_window_patterns(name, windows, full):
    kinds = [layer.attention.window is None for layer in model(name).layers]
    assert (kinds.count(False), kinds.count(True)) == (windows, full)


@pytest.mark.parametrize("name", ["qwen3-4b", "gemma-2-27b", "mistral-nemo-12b", "gpt-oss-20b"])
def test_heads_need_not_share_the_hidden_state(name):
    attention = model(name).layers[0].attention
    assert attention.heads * attention.head_dim != model(name).hidden


@given(
    heads=st.sampled_from([8, 16, 32]),
    kv_heads=st.sampled_from([1, 2, 8]),
    head_dim=st.sampled_from([64, 80, 128]),
    depth=st.integers(1, 40),
    width=st.integers(1, 20_000),
    precision=st.sampled_from(["fp16", "fp8", "int4"]),
)
def test_cache_grows_with_kv_heads_alone(heads, kv_heads, head_dim, depth, width, precision):
    def build(heads, kv_heads):
        layer = Layer(Attention(heads, kv_heads, head_dim), FeedForward(width, gated=True))
        return Transformer(
            name="x", title="x", family="x", layers=(layer,) * depth, hidden=1024,
            vocabulary=1000, max_context=4096, tied_embeddings=True, position="rope",
        )  # fmt: skip

    one = build(heads, kv_heads)
    per_head = 2 * head_dim * depth * itemsize(precision)
    assert one.kv_bytes_per_token(precision) == kv_heads * per_head
    assert build(2 * heads, kv_heads).kv_bytes_per_token(precision) == kv_heads * per_head
    assert build(2 * heads, kv_heads).parameters > one.parameters


def test_capacity_in_tokens():
    llama, h100 = model("llama-3-8b"), device("h100-sxm-80gb")
    assert tokens(llama, h100) == int(80 * GB // (128 * KiB))
    beside = tokens(llama, h100, weight_precision="fp16")
    assert beside == int((80 * GB - weight_bytes(llama)) // (128 * KiB))
    assert tokens(llama, h100, "fp8") // 2 == tokens(llama, h100)
    assert tokens(model("llama-3.1-405b"), h100, weight_precision="fp16") == 0
