"""The closed forms of `phases` against a transformer that is counted while it runs.

Three statements, each written independently of the others: `kvlib.phases` (closed forms),
`kvlib.reference` (executed and counted) and `textbook` below (the whole sequence at once, with
masks and without a cache).
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib.feedforward import distinct_experts
from kvlib.operators import Work
from kvlib.phases import decode_step, prefill
from kvlib.reference import Reference, Tally, operator
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

FORMATS = {2: np.float16, 4: np.float32, 8: np.float64}


# ---- random small transformers --------------------------------------------------------------


@st.composite
def attentions(draw, kind, rope):
    if kind == "MLA":
        return LatentAttention(
            heads=draw(st.integers(1, 4)),
            kv_rank=draw(st.integers(1, 6)),
            q_rank=draw(st.sampled_from([0, 5])),
            nope_dim=draw(st.integers(1, 4)),
            rope_dim=draw(st.sampled_from([0, 2, 4])),
            value_dim=draw(st.integers(1, 5)),
        )
    kv_heads = {"MHA": draw(st.integers(1, 4)), "GQA": draw(st.integers(2, 3)), "MQA": 1}[kind]
    group = 1 if kind == "MHA" else draw(st.integers(2, 4))
    return Attention(
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([2, 4, 6]) if rope else st.integers(1, 6)),
        window=draw(st.none() | st.integers(1, 12)),
        bias=draw(st.booleans()),
        query_key_norm=draw(st.booleans()),
    )


@st.composite
def networks(draw):
    if draw(st.booleans()):
        return FeedForward(draw(st.integers(1, 12)), gated=draw(st.booleans()))
    count = draw(st.integers(1, 6))
    shared = draw(st.integers(0, 2))
    return Experts(
        count=count,
        active=draw(st.integers(1, count)),
        width=draw(st.integers(1, 8)),
        gated=draw(st.booleans()),
        shared=shared,
        shared_width=draw(st.integers(0, 5)) if shared else 0,
    )


@st.composite
def transformers(draw, kind):
    position = draw(st.sampled_from(["rope", "learned", "alibi", "none"]))
    kinds = [Layer(draw(attentions(kind, position == "rope")), draw(networks())) for _ in range(2)]
    return Transformer(
        name="small",
        title="Small",
        family="small",
        layers=tuple(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3))),
        hidden=draw(st.integers(1, 12)),
        vocabulary=draw(st.integers(40, 60)),
        max_context=16,
        tied_embeddings=draw(st.booleans()),
        position=position,
        biases=draw(st.booleans()),
    )


def tokens_of(random, model, batch, count):
    """Token ids that are all different, as the closed form of the embedding takes them."""
    return random.permutation(model.vocabulary)[: batch * count].reshape(batch, count)


def assert_equal_work(model, call, reference, **sizes):
    """Every operator of every layer: operations and bytes of each stream, exactly."""
    plain = call(model, **sizes)
    for layer, shape in enumerate(model.layers):
        chosen = reference.chosen.get(layer)
        distinct = None if chosen is None else np.unique(chosen).size
        one = replace(model, layers=(shape,))
        step = call(one, **sizes, distinct_experts=distinct).layer(0)
        assert step.names == plain.layer(layer).names
        counted = {name for where, name in reference.tally.records if where == layer}
        assert set(step.names) == counted
        for each in step.operators:
            assert each.work == reference.tally.work(layer, each.name), each.name
    outside = [each for each in plain.operators if not each.layers]
    assert {each.name for each in outside} == {
        name for where, name in reference.tally.records if where is None
    }
    for each in outside:
        assert each.work == reference.tally.work(None, each.name), each.name


@pytest.mark.parametrize("kind", ["MHA", "GQA", "MQA", "MLA"])
@settings(max_examples=75)
@given(data=st.data())
def test_closed_forms_equal_execution(kind, data):
    model = data.draw(transformers(kind))
    activations = data.draw(st.sampled_from([4, 8]))
    narrower = st.sampled_from([size for size in FORMATS if size <= activations])
    weights, kv = data.draw(narrower), data.draw(narrower)
    fused, absorbed = data.draw(st.booleans()), data.draw(st.booleans())
    batch = data.draw(st.integers(1, 3))
    prompt, chunk, query_tokens = (data.draw(st.integers(1, high)) for high in (6, 4, 3))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    formats = {"precision": activations, "weight_precision": weights, "kv_precision": kv}
    options = {"batch": batch, "absorbed": absorbed, "fused": fused, **formats}
    small = Reference(
        model, seed=1, dtype=FORMATS[activations], weight_dtype=FORMATS[weights],
        kv_dtype=FORMATS[kv], fused=fused,
    )  # fmt: skip
    cache = small.cache(batch, 16)

    logits = data.draw(st.sampled_from(["last", "all", "none"]))
    small.prefill(tokens_of(random, model, batch, prompt), cache, absorbed=absorbed, logits=logits)
    assert_equal_work(model, prefill, small, prompt=prompt, logits=logits, **options)

    small.tally.clear()
    small.prefill(tokens_of(random, model, batch, chunk), cache, absorbed=absorbed)
    assert_equal_work(model, prefill, small, prompt=chunk, cached=prompt, **options)

    small.tally.clear()
    small.decode(tokens_of(random, model, batch, query_tokens), cache, absorbed=absorbed)
    context = prompt + chunk + query_tokens
    sizes = {"context": context, "query_tokens": query_tokens}
    assert_equal_work(model, decode_step, small, **sizes, **options)


# ---- the same numbers -----------------------------------------------------------------------


def textbook(small, tokens):
    """Scores after every token: the whole sequence at once, no cache, masks for what is unseen."""
    model, w = small.model, {name: arrays(each) for name, each in small.weights.items()}
    x = w["embedding"][tokens].astype(float)
    length = tokens.shape[1]
    if model.position == "learned":
        x += w["positions"][:length]
    for layer, weights in zip(model.layers, small.layer_weights, strict=True):
        lw = {name: arrays(each) for name, each in weights.items()}
        attend = textbook_mla if layer.attention.kind == "MLA" else textbook_attention
        y = attend(layer.attention, lw, normed(x, lw["attention_norm"]), model)
        x = x + affine(y, lw["output_projection"])
        y = normed(x, lw["ffn_norm"])
        network = layer.feed_forward
        if isinstance(network, FeedForward):
            x = x + dense(y, lw["ffn_up"], lw["ffn_down"], network.gated)
        else:
            x = x + mixture(network, lw, y)
    return affine(normed(x, w["final_norm"]), w["lm_head"])


def arrays(weight):
    if isinstance(weight, tuple):
        return tuple(None if part is None else np.asarray(part, float) for part in weight)
    return np.asarray(weight, float)


def affine(x, weight):
    matrix, bias = weight
    return np.einsum("...i,io->...o", x, matrix) + (0 if bias is None else bias)


def normed(x, weight):
    scale, shift = weight
    if shift is None:
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * scale
    size = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / size * scale + shift


def turned(x):
    """Rotary position as a complex rotation; x is (batch, token, head, width)."""
    half = x.shape[-1] // 2
    turn = np.outer(np.arange(x.shape[1]), 10_000.0 ** (-np.arange(half) / max(half, 1)))
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * turn)[:, None]
    return np.concatenate([z.real, z.imag], -1)


def masked_attention(q, k, v, window, alibi):
    length, heads, width = q.shape[1:]
    s = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width)
    distance = np.arange(length)[:, None] - np.arange(length)
    if alibi:
        s = s - (2.0 ** (-8 * np.arange(1, heads + 1) / heads))[:, None, None] * distance
    unseen = (distance < 0) | (distance >= (window or length))
    s = np.where(unseen, -np.inf, s)
    p = np.exp(s - s.max(-1, keepdims=True))
    out = np.einsum("bhqk,bkhd->bqhd", p / p.sum(-1, keepdims=True), v)
    return out.reshape(*out.shape[:2], -1)


def textbook_attention(a, w, x, model):
    n, g, d = a.heads, a.kv_heads, a.head_dim
    qkv = affine(x, w["qkv_projection"]).reshape(*x.shape[:2], -1, d)
    q, k, v = np.split(qkv, [n, n + g], axis=2)
    if a.query_key_norm:
        q, k = normed(q, w["query_norm"]), normed(k, w["key_norm"])
    if model.position == "rope":
        q, k = turned(q), turned(k)
    k, v = (np.repeat(each, n // g, axis=2) for each in (k, v))
    return masked_attention(q, k, v, a.window, model.position == "alibi")


def textbook_mla(a, w, x, model):
    if a.q_rank:
        q = affine(normed(affine(x, w["query_down"]), w["query_norm"]), w["query_up"])
    else:
        q = affine(x, w["query_projection"])
    q = q.reshape(*x.shape[:2], a.heads, -1)
    row = affine(x, w["kv_down"])
    latent, shared_key = normed(row[..., : a.kv_rank], w["kv_norm"]), row[:, :, None, a.kv_rank :]
    if model.position == "rope":
        q = np.concatenate([q[..., : a.nope_dim], turned(q[..., a.nope_dim :])], -1)
        shared_key = turned(shared_key)
    k = np.einsum("btr,hrd->bthd", latent, w["key_matrices"])
    k = np.concatenate([k, np.repeat(shared_key, a.heads, axis=2)], -1)
    v = np.einsum("btr,hrd->bthd", latent, w["value_matrices"])
    return masked_attention(q, k, v, None, model.position == "alibi")


def dense(x, up, down, gated):
    u = affine(x, up)
    if gated:
        gate, u = np.split(u, 2, axis=-1)
        u = gate / (1 + np.exp(-gate)) * u
    else:
        u = u / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (u + 0.044715 * u**3)))
    return affine(u, down)


def mixture(network, w, x):
    p = np.exp(affine(x, w["router"]))
    p /= p.sum(-1, keepdims=True)
    smallest = np.sort(p, -1)[..., -network.active, None]
    p = np.where(p >= smallest, p, 0)
    p /= p.sum(-1, keepdims=True)
    experts = [
        dense(x, (w["expert_up"][e], None), (w["expert_down"][e], None), network.gated)
        for e in range(network.count)
    ]
    y = sum(p[..., e, None] * out for e, out in enumerate(experts))
    if network.shared:
        y = y + dense(x, w["shared_up"], w["shared_down"], network.gated)
    return y


@pytest.mark.parametrize("kind", ["MHA", "GQA", "MQA", "MLA"])
@settings(max_examples=50)
@given(data=st.data())
def test_decoding_with_the_cache_equals_the_whole_sequence_at_once(kind, data):
    model, absorbed = data.draw(transformers(kind)), data.draw(st.booleans())
    batch = data.draw(st.integers(1, 2))
    prompt, steps, at_once = data.draw(st.integers(1, 6)), 2, data.draw(st.integers(1, 3))
    length = prompt + steps * at_once
    random = np.random.default_rng(3)
    tokens = random.integers(model.vocabulary, size=(batch, length))
    small = Reference(model, seed=2, fused=data.draw(st.booleans()))
    cache = small.cache(batch, length)
    parts = [small.prefill(tokens[:, :prompt], cache, logits="all", absorbed=absorbed)]
    parts += [
        small.decode(tokens[:, first : first + at_once], cache, absorbed=absorbed)
        for first in range(prompt, length, at_once)
    ]
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1), textbook(small, tokens), rtol=1e-9, atol=1e-9
    )


# ---- weights, experts -----------------------------------------------------------------------


@settings(max_examples=40)
@given(st.sampled_from(["MHA", "GQA", "MQA", "MLA"]).flatmap(transformers))
def test_weights_drawn_are_the_parameters_counted(model):
    small = Reference(model)
    assert small.tally.held("weights") == 8 * model.parameters


def test_expected_distinct_experts_is_the_mean_over_random_routing():
    random, tokens, count, active = np.random.default_rng(0), 5, 8, 2
    met = [
        np.unique([random.permutation(count)[:active] for _ in range(tokens)]).size
        for _ in range(4000)
    ]
    assert distinct_experts(tokens, count, active) == pytest.approx(np.mean(met), rel=0.01)
    assert distinct_experts(1, count, active) == pytest.approx(active)


# ---- the instrument itself ------------------------------------------------------------------


def placed(tally, array, stream="activations"):
    return tally.place(np.asarray(array, float), stream)


def test_an_element_read_twice_by_one_operator_is_moved_once():
    tally = Tally()
    row = placed(tally, np.ones(6), "kv")

    @operator
    def twice(row):
        return row[:4] * 1.0 + row[2:] * 1.0

    twice(row)
    assert tally["twice"] == Work(flop=12, weights=0, kv=48, activations=32)


def test_what_an_operator_makes_and_uses_itself_moves_nothing():
    tally = Tally()
    x = placed(tally, np.ones((2, 3)))

    @operator
    def chain(x):
        return (x * x + x).sum(axis=-1)

    chain(x)
    assert tally["chain"] == Work(flop=18, weights=0, kv=0, activations=48 + 16)


def test_nothing_goes_uncounted():
    tally = Tally()
    x = placed(tally, np.ones(3))
    with pytest.raises(RuntimeError, match="outside any operator"):
        x + 1

    @operator
    def cube_root(x):
        return np.cbrt(x)

    @operator
    def mean(x):
        return np.mean(x)

    @operator
    def nested(x):
        return cube_root(x)

    with pytest.raises(TypeError, match=r"cbrt .* has no count"):
        cube_root(x)
    with pytest.raises(TypeError, match=r"numpy\.mean on a watched array"):
        mean(x)
    with pytest.raises(RuntimeError, match="inside another operator"):
        nested(x)


def tiny(**changes):
    layer = Layer(Attention(4, 2, 4), FeedForward(8, gated=True))
    shape = {
        "name": "tiny", "title": "Tiny", "family": "tiny", "layers": (layer,), "hidden": 8,
        "vocabulary": 32, "max_context": 16, "tied_embeddings": True, "position": "rope",
    }  # fmt: skip
    return Transformer(**(shape | changes))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([1, 2], "give 1 x"),
        ([[1], [2]], "holds 1 sequences"),
        ([[]], "give 1 x"),
        ([[1, 32]], "token 32 is outside the vocabulary of 32"),
        ([[-1]], "must be finite and not negative"),
        ([[0.5]], "must be a whole number"),
        ([[1, 2, 3, 4, 5]], "5 new tokens, but room for 4"),
    ],
)
def test_refused_tokens(tokens, message):
    small = Reference(tiny())
    with pytest.raises(ValueError, match=message):
        small.prefill(tokens, small.cache(batch=1, capacity=4))


def test_refused_models():
    with pytest.raises(ValueError, match="choose activations at least as wide"):
        Reference(tiny(), dtype=np.float32, kv_dtype=np.float64)
    odd = Layer(Attention(4, 2, 3), FeedForward(8, gated=True))
    with pytest.raises(ValueError, match="a width of 3 must be even"):
        Reference(tiny(layers=(odd,)))


def test_a_cache_in_half_precision_changes_the_result_a_little():
    tokens = [[1, 2, 3, 4, 5]]
    exact, rounded = Reference(tiny()), Reference(tiny(), kv_dtype=np.float16)
    a, b = (each.prefill(tokens, each.cache(1, 5)) for each in (exact, rounded))
    assert 0 < np.abs(a - b).max() < 1e-2
