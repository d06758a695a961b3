"""Counts by hand for well-known models, and what every sweep and every wrong input relies on.

That the closed forms equal a run of the real thing is in ``test_reference.py``.
"""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from kvlib import model, models
from kvlib.attention import AttentionShape, attend, reuse
from kvlib.checks import UnknownName
from kvlib.footprint import cache_bytes, fits, weight_bytes
from kvlib.parallel import Parallel
from kvlib.phases import decode_step, prefill
from kvlib.units import GB
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

LLAMA = model("llama-3-8b")
LLAMA_70B = model("llama-2-70b")
DEEPSEEK = LatentAttention(
    heads=128, kv_rank=512, q_rank=1536, nope_dim=128, rope_dim=64, value_dim=128
)


def small(attention=None, network=None, layers=2, **changes):
    attention = attention or Attention(8, 4, 16)
    layer = Layer(attention, network or FeedForward(64, gated=True))
    shape = {
        "name": "small", "title": "Small", "family": "small", "layers": (layer,) * layers,
        "hidden": 32, "vocabulary": 100, "max_context": 64, "tied_embeddings": False,
        "position": "rope",
    }  # fmt: skip
    return Transformer(**(shape | changes))


# ---- the reuse r ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        (Attention(32, 32, 128), 1),  # any MHA
        (Attention(32, 8, 128), 4),  # Llama-3-8B
        (Attention(64, 8, 128), 8),  # Llama-2-70B
        (Attention(71, 1, 64), 71),  # Falcon-7B
        (DEEPSEEK, 128 * (2 * 512 + 64) / (512 + 64)),  # DeepSeek-V3: 241.8
    ],
)
def test_reuse_of_one_token_in_half_precision(attention, expected):
    assert reuse(attention) == expected


@pytest.mark.parametrize("name", ["llama-2-7b", "llama-3-8b", "falcon-7b", "deepseek-v3"])
def test_reuse_is_operations_over_bytes_of_the_step(name):
    step = decode_step(model(name), batch=3, context=1000).select("scores", "context")
    assert step.work.flop / step.work.kv == pytest.approx(reuse(model(name).layers[0].attention))


def test_speculation_approaches_its_reuse_as_the_context_grows():
    limit = reuse(LLAMA.layers[0].attention, query_tokens=5)
    for context, within in [(100, 0.03), (10_000, 3e-4)]:
        step = decode_step(LLAMA, batch=1, context=context, query_tokens=5)
        step = step.select("scores", "context")
        assert step.work.flop / step.work.kv == pytest.approx(limit, rel=within)
        assert step.work.flop / step.work.kv < limit


def test_sharers_and_formats_multiply_reuse():
    attention = LLAMA.layers[0].attention
    assert reuse(attention, sharers=64) == 64 * 4
    assert reuse(attention, query_tokens=3, kv_precision="fp8") == 3 * 4 * 2
    assert reuse(attention, kv_precision=np.array([2.0, 1.0, 0.5])).tolist() == [4, 8, 16]


def test_reuse_of_naive_mla_includes_expanding_each_row():
    per_row = 2 * 128 * (128 + 64 + 128) + 2 * 512 * 128 * (128 + 128)
    assert reuse(DEEPSEEK, absorbed=False) == per_row / (576 * 2)
    step = decode_step(model("deepseek-v3"), batch=2, context=500, absorbed=False)
    step = step.select("kv_expand", "scores", "context")
    assert step.work.flop / step.work.kv == pytest.approx(per_row / (576 * 2))


# ---- counts by hand -------------------------------------------------------------------------


def test_cache_read_in_one_step():
    for name, kib in [("llama-2-7b", 512), ("llama-2-70b", 320), ("llama-3-8b", 128)]:
        step = decode_step(model(name), batch=4, context=1000)
        assert step.kv_read == 4 * 1000 * kib * 1024
        assert step.kv_written == 4 * kib * 1024
    assert decode_step(model("deepseek-v3"), batch=1, context=1).kv_read == 61 * 576 * 2


def test_query_heads_do_not_multiply_the_cache():
    """The 8x bug: Llama-2-70B has 64 query heads, but reads the rows of 8."""
    step = decode_step(LLAMA_70B, batch=1, context=4096)
    assert step.kv_read == 80 * 2 * 8 * 128 * 2 * 4096


def test_causal_prefill_computes_half_the_square():
    step = prefill(LLAMA, batch=2, prompt=4096).select("scores")
    assert step.work.flop == 32 * 2 * 32 * (2 * 128) * (4096 * 4097 / 2)


def test_weights_are_read_once_and_used_for_every_token():
    matrices = LLAMA.parameters - 128256 * 4096  # all but the embedding table
    for batch in 1, 64:
        step = decode_step(LLAMA, batch=batch, context=100)
        assert step.work.weights == 2 * (matrices + batch * 4096)
        linear = step.select(kind="gemm").work.flop
        assert linear == 2 * batch * (matrices - 65 * 4096)  # without the norms


def test_only_gated_networks_have_a_gate():
    plain = decode_step(model("gpt-3-175b"), batch=1, context=10).select("ffn_up", "ffn_down")
    assert plain.work.flop == 96 * (2 * 2 * 12288 * 49152 + 49152 + 12288)  # with biases
    gated = decode_step(LLAMA, batch=1, context=10).select("ffn_up", "ffn_down")
    assert gated.work.flop == 32 * 2 * 3 * 4096 * 14336


@given(prompt=st.integers(1, 60), cached=st.integers(0, 60), window=st.none() | st.integers(1, 80))
def test_positions_and_rows_equal_an_enumeration(prompt, cached, window):
    shape = AttentionShape(
        batch=1, query_tokens=prompt, context=cached + prompt, heads=1, kv_heads=1,
        key_dim=1, value_dim=1, window=window,
    )  # fmt: skip
    pairs = {
        (query, key)
        for query in range(cached, cached + prompt)
        for key in range(query + 1)
        if window is None or key > query - window
    }
    assert shape.positions == len(pairs)
    assert shape.rows == len({key for _, key in pairs})


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sampled_from([None, 7]),
    st.booleans(),
)
def test_chunks_do_the_work_of_one_prefill(chunks, window, absorbed):
    """Operations are the same; what a chunk costs more is reading weights and cache again."""
    layers = (Layer(Attention(4, 2, 8, window=window), FeedForward(16, gated=True)),)
    shape = small(layers=1, max_context=400)
    shape = Transformer(**{**vars(shape), "layers": layers})
    total = sum(chunks)
    once = prefill(shape, batch=2, prompt=total, logits="none", absorbed=absorbed).work
    done, work = 0, []
    for chunk in chunks:
        part = prefill(shape, batch=2, prompt=chunk, cached=done, logits="none", absorbed=absorbed)
        work.append(part.work)
        done += chunk
    assert sum(each.flop for each in work) == once.flop
    assert sum(each.kv for each in work) >= once.kv
    assert sum(each.weights for each in work) >= once.weights


def test_a_window_bounds_bytes_but_not_reuse():
    full, window = Attention(8, 2, 16), Attention(8, 2, 16, window=100)
    steps = [decode_step(small(a), batch=1, context=10_000).select("scores", "context").work
             for a in (full, window)]  # fmt: skip
    assert steps[0].kv == 100 * steps[1].kv
    assert steps[0].flop / steps[0].kv == steps[1].flop / steps[1].kv == reuse(window)


def test_a_window_longer_than_the_context_is_no_window():
    wide = decode_step(small(Attention(8, 2, 16, window=500)), batch=1, context=50)
    assert wide.work == decode_step(small(Attention(8, 2, 16)), batch=1, context=50).work


def test_layers_of_a_hybrid_model():
    gemma = model("gemma-2-9b")
    step = decode_step(gemma, batch=1, context=8192)
    read = [step.layer(index).kv_read for index in range(4)]
    assert read == [4096 * 2 * 8 * 256 * 2, 8192 * 2 * 8 * 256 * 2] * 2
    assert sum(step.layer(i).kv_read for i in range(len(gemma.layers))) == step.kv_read


def test_absorbed_and_naive_mla_read_the_same_cache():
    deepseek = model("deepseek-v3")
    absorbed, naive = (
        decode_step(deepseek, batch=1, context=4096, absorbed=a) for a in (True, False)
    )
    assert absorbed.kv_read == naive.kv_read == 61 * 576 * 2 * 4096
    assert naive.work.flop > 10 * absorbed.work.flop
    assert (
        prefill(deepseek, batch=1, prompt=4096).work.flop
        < prefill(deepseek, batch=1, prompt=4096, absorbed=True).work.flop
    )


def test_unfused_scores_travel():
    fused, apart = (decode_step(LLAMA, batch=1, context=1000, fused=f) for f in (True, False))
    scores = 32 * 32 * 1000 * 2
    assert apart.work.activations - fused.work.activations == 4 * scores  # out, in and out, in


# ---- experts --------------------------------------------------------------------------------


def test_one_token_meets_its_experts():
    mixtral = model("mixtral-8x7b")
    step = decode_step(mixtral, batch=1, context=10).select("expert_up", "expert_down")
    assert step.work.weights == pytest.approx(32 * 2 * 3 * 4096 * 14336 * 2)
    assert step.work.flop == 32 * 2 * 3 * 4096 * 14336 * 2


def test_many_tokens_meet_all_experts():
    step = decode_step(model("mixtral-8x7b"), batch=1000, context=10)
    step = step.select("expert_up", "expert_down")
    assert step.work.weights == pytest.approx(32 * 8 * 3 * 4096 * 14336 * 2)


def test_experts_known_from_a_trace():
    step = decode_step(model("mixtral-8x7b"), batch=16, context=10, distinct_experts=5)
    step = step.select("expert_up", "expert_down")
    assert step.work.weights == 32 * 5 * 3 * 4096 * 14336 * 2
    assert step.operators[0].shape.copies == 5
    assert step.operators[0].shape.m == 16 * 2 / 5


# ---- ranks ----------------------------------------------------------------------------------


def test_ranks_share_matrices_heads_and_cache():
    one = decode_step(LLAMA_70B, batch=8, context=2000)
    rank = decode_step(LLAMA_70B, batch=8, context=2000, parallel=Parallel(tensor=8))
    assert one.select(kind="gemm").work.flop == 8 * rank.select(kind="gemm").work.flop
    assert one.work.kv == 8 * rank.work.kv
    assert one.select("attention_norm").work == rank.select("attention_norm").work


def test_fewer_kv_heads_than_ranks_are_replicated():
    rank = decode_step(LLAMA_70B, batch=8, context=2000, parallel=Parallel(tensor=16))
    assert rank.kv_read == decode_step(LLAMA_70B, batch=8, context=2000).kv_read / 8
    scores = rank.select("scores").operators[0]
    assert scores.shape.heads / scores.shape.kv_heads == 4  # not 8: each rank reads for fewer


def test_collectives_of_tensor_parallel_layers():
    step = decode_step(LLAMA_70B, batch=16, context=100, parallel=Parallel(tensor=8))
    by_place = {each.after: each for each in step.collectives}
    assert list(by_place) == ["embedding", "output_projection", "ffn_down", "lm_head"]
    assert by_place["ffn_down"].kind == "all_reduce"
    assert by_place["ffn_down"].bytes == 16 * 8192 * 2
    assert by_place["ffn_down"].count == 80
    assert by_place["lm_head"].bytes == 16 * 32000 / 8 * 2
    assert decode_step(LLAMA_70B, batch=16, context=100).collectives == ()


def test_pipeline_stages_add_up():
    step = decode_step(LLAMA, batch=2, context=100, parallel=Parallel(pipeline=3))
    stages = [step.stage(index) for index in range(3)]
    assert [len(s.select("scores").operators[0].layers) for s in stages] == [11, 11, 10]
    assert sum(s.work.flop for s in stages) == step.work.flop
    assert [c.kind for s in stages for c in s.collectives] == ["send", "send"]
    assert ["embedding" in stage.names for stage in stages] == [True, False, False]
    assert ["lm_head" in stage.names for stage in stages] == [False, False, True]


def test_experts_spread_over_ranks():
    deepseek = model("deepseek-v3")
    spread = Parallel(tensor=1, expert=64)
    step = decode_step(deepseek, batch=128, context=1000, parallel=spread)
    up = step.select("expert_up").operators[0]
    assert up.work.flop == 2 * (128 * 8) * 7168 * (2 * 2048)  # its share of 64 x 128 tokens
    assert up.shape.copies == pytest.approx(256 / 64)
    dispatch, combine = (c for c in step.collectives if c.kind == "all_to_all")
    assert (dispatch.after, combine.after) == ("routing", "expert_down")
    assert dispatch.bytes == 128 * 8 * 7168 * 2
    assert dispatch.count == 58


def test_experts_inside_a_tensor_group_need_no_dispatch():
    mixtral = model("mixtral-8x7b")
    steps = [decode_step(mixtral, batch=64, context=100, parallel=p)
             for p in (Parallel(tensor=8), Parallel(tensor=8, expert=8))]  # fmt: skip
    assert {c.kind for c in steps[1].collectives} == {"all_reduce", "all_gather"}
    for name in "expert_up", "expert_down":
        split, whole = (step.select(name).work for step in steps)
        assert split.flop == whole.flop
        assert split.weights == pytest.approx(whole.weights)


# ---- broadcasting ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2-9b", "deepseek-v3", "gpt-3-175b"])
def test_arrays_give_what_scalars_give(name):
    shape = model(name)
    batch, context = np.array([1, 8, 64])[:, None], np.array([100, 5000])
    kv, tensor = np.array([2.0, 0.5]), np.array([1, 4, 8])
    grid = decode_step(
        shape, batch=batch[..., None, None], context=context[:, None, None],
        kv_precision=kv[:, None], parallel=Parallel(tensor=tensor), query_tokens=2,
    ).work  # fmt: skip
    for index in np.ndindex(grid.kv.shape):
        i, j, k, rank = index
        one = decode_step(
            shape, batch=int(batch[i, 0]), context=int(context[j]), query_tokens=2,
            kv_precision=float(kv[k]), parallel=Parallel(tensor=int(tensor[rank])),
        ).work  # fmt: skip
        assert one.kv == pytest.approx(grid.kv[index])
        assert one.flop == pytest.approx(np.broadcast_to(grid.flop, grid.kv.shape)[index])


def test_labelled_arrays_keep_their_labels():
    batch = xr.DataArray([1, 2, 4], dims="batch")
    context = xr.DataArray([128, 256], dims="context")
    step = decode_step(model("gemma-2-9b"), batch=batch, context=context)
    assert set(step.work.kv.dims) == {"batch", "context"}
    assert step.beyond_max_context.dims == ("context",)
    state = fits(LLAMA, capacity=80 * GB, batch=batch, context=context)
    assert set(state.fits.dims) == {"batch", "context"}


def test_context_beyond_the_maximum_is_a_value():
    assert decode_step(LLAMA, batch=1, context=8192).beyond_max_context is False
    assert decode_step(LLAMA, batch=1, context=8193).beyond_max_context is True
    step = prefill(LLAMA, batch=1, prompt=np.array([4096, 4097]), cached=4096)
    assert step.beyond_max_context.tolist() == [False, True]


def test_large_counts_do_not_overflow():
    context = np.array([100_000], dtype=np.int32)
    step = decode_step(LLAMA_70B, batch=np.array([1000], dtype=np.int32), context=context)
    assert step.kv_read[0] == 1000 * 100_000 * 320 * 1024
    flop = prefill(LLAMA_70B, batch=1, prompt=context).select("scores").work.flop[0]
    assert flop == 80 * 2 * 64 * 128 * (100_000 * 100_001 / 2)


# ---- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models())
def test_weights_of_one_rank_are_all_parameters(name):
    assert weight_bytes(model(name), weight_precision="fp8") == model(name).parameters


def test_tokens_whose_cache_equals_the_weights():
    for name, tokens in [("llama-2-7b", 25.7e3), ("llama-2-70b", 421e3), ("llama-3-8b", 123e3)]:
        cache = cache_bytes(model(name), batch=1, context=1)
        assert weight_bytes(model(name)) / cache == pytest.approx(tokens, rel=5e-3)


def test_a_state_that_does_not_fit_is_a_value():
    batch = np.array([1, 64, 256])
    state = fits(LLAMA, capacity=80 * GB, batch=batch, context=8192, reserve=2 * GB)
    assert state.fits.tolist() == [True, False, False]
    needed = LLAMA.parameters * 2 + batch * 8192 * 131072 + 2 * GB
    np.testing.assert_allclose(state.shortfall, np.maximum(needed - 80 * GB, 0))
    assert state.free_for_cache == 78 * GB - LLAMA.parameters * 2


def test_ranks_hold_shares():
    tensor = fits(LLAMA_70B, capacity=80 * GB, batch=16, context=4096, parallel=Parallel(tensor=4))
    assert tensor.cache == 16 * 4096 * 320 * 1024 / 4
    assert tensor.weights == pytest.approx(LLAMA_70B.parameters * 2 / 4, rel=1e-4)
    stages = fits(
        LLAMA_70B, capacity=80 * GB, batch=16, context=4096, parallel=Parallel(pipeline=4)
    )
    assert stages.cache == tensor.cache
    assert stages.weights == pytest.approx(LLAMA_70B.parameters * 2 / 4, rel=1e-2)


def test_a_window_bounds_the_cache():
    gemma = model("gemma-3-27b")
    windows = sum(layer.attention.window is not None for layer in gemma.layers)
    row = 2 * 16 * 128 * 2
    held = row * (windows * 1024 + (len(gemma.layers) - windows) * 100_000)
    assert cache_bytes(gemma, batch=1, context=100_000) == held


# ---- wrong input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 0}, "batch = 0 must be finite and above zero"),
        ({"batch": -1}, "batch = -1 must be"),
        ({"batch": 1.5}, "batch = 1.5 must be a whole number"),
        ({"batch": float("nan")}, "batch = nan must be"),
        ({"context": np.array([10, np.inf])}, "context = inf must be"),
        ({"context": np.array([10, 10.5])}, "context = 10.5 must be a whole number"),
        ({"query_tokens": 0}, "query_tokens = 0 must be"),
        ({"context": 3, "query_tokens": 5}, "context - new tokens = -2 must not be negative"),
        ({"kv_precision": 0.0}, "precision = 0.0 must be"),
        ({"parallel": Parallel(tensor=3)}, "heads = 8 cannot be split over 3 ranks"),
        ({"parallel": Parallel(tensor=np.array([1, 3]))}, "heads = 8 cannot be split over 3 ranks"),
        ({"parallel": Parallel(pipeline=3)}, "pipeline = 3 stages, but only 2 layers"),
    ],
)
def test_refused_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        decode_step(small(), **{"batch": 1, "context": 10, **sizes})


def test_refused_prompts():
    with pytest.raises(ValueError, match="prompt = 0 must be"):
        prefill(small(), batch=1, prompt=0)
    with pytest.raises(ValueError, match="cached = -4 must be"):
        prefill(small(), batch=1, prompt=4, cached=-4)
    with pytest.raises(UnknownName, match=r"logits 'lsat' is unknown.*last"):
        prefill(small(), batch=1, prompt=4, logits="lsat")
    with pytest.raises(UnknownName, match=r"precision 'fp61' is unknown.*fp16"):
        prefill(small(), batch=1, prompt=4, kv_precision="fp61")
    with pytest.raises(TypeError, match="batch = '8' must be a number"):
        prefill(small(), batch="8", prompt=4)


def test_refused_splits():
    with pytest.raises(ValueError, match="kv_heads = 6 cannot be split over tensor = 4"):
        decode_step(small(Attention(12, 6, 8)), batch=1, context=5, parallel=Parallel(tensor=4))
    uneven = small(network=FeedForward(66, gated=True))
    with pytest.raises(ValueError, match="ffn width = 66 cannot be split over 4 ranks"):
        decode_step(uneven, batch=1, context=5, parallel=Parallel(tensor=4))
    experts = small(network=Experts(count=6, active=2, width=8, gated=True))
    with pytest.raises(ValueError, match="experts = 6 cannot be split over 4 ranks"):
        decode_step(experts, batch=1, context=5, parallel=Parallel(expert=4))
    with pytest.raises(ValueError, match="expert = 6 must be 1 or a multiple of tensor = 4"):
        Parallel(tensor=4, expert=6)
    with pytest.raises(ValueError, match="tensor = 0 must be"):
        Parallel(tensor=0)
    with pytest.raises(TypeError, match=r"pipeline = .* must be one number"):
        Parallel(pipeline=np.array([1, 2]))
    with pytest.raises(ValueError, match="distinct_experts = 7 exceeds the 6 experts"):
        decode_step(experts, batch=1, context=5, distinct_experts=7)


def test_refused_models():
    with pytest.raises(ValueError, match="kv_heads = 3 must divide heads = 8"):
        Attention(8, 3, 16)
    with pytest.raises(ValueError, match="0 layers"):
        small(layers=0)
    with pytest.raises(ValueError, match="active = 3 experts per token, but there are only 2"):
        Experts(count=2, active=3, width=8, gated=True)


def test_refused_names_and_numbers():
    step = decode_step(small(), batch=1, context=10)
    with pytest.raises(UnknownName, match=r"operator 'score' is unknown. Nearest known: scores"):
        step.select("score")
    with pytest.raises(UnknownName, match="kind of operator 'gem' is unknown"):
        step.select(kind="gem")
    with pytest.raises(IndexError, match="layer 2: 'small' has layers 0 to 1"):
        step.layer(2)
    with pytest.raises(IndexError, match="stage 1: the pipeline has stages 0 to 0"):
        step.stage(1)
    with pytest.raises(ValueError, match="capacity = -1 must be"):
        fits(small(), capacity=-1, batch=1, context=10)
    with pytest.raises(ValueError, match="query_tokens = 0 must be"):
        reuse(Attention(8, 4, 16), query_tokens=0)


def test_attend_is_the_sum_of_its_operators():
    step = decode_step(LLAMA, batch=3, context=700).select(kind="attention").layer(0)
    shape = step.operators[0].shape
    assert attend(shape, element_bytes=2, kv_bytes=2) == step.work
