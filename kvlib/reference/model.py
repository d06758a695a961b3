"""A small transformer that really runs: prefill, then decode with a KV cache."""

from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, whole
from kvlib.reference import operators as op
from kvlib.reference.cache import Cache
from kvlib.reference.operators import Sight
from kvlib.reference.tally import Array, Tally
from kvlib.reference.weights import random_weights
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Transformer

__all__ = ["Reference"]


class Reference:
    """A transformer with random weights, whose every operation and byte is counted as it runs.

    Meant for small models: Python loops over sequences, tokens and KV heads do exactly the work
    that causal attention needs, without a masked half or padding.

    Parameters
    ----------
    model : Transformer
        Its shape.
    seed : int
        Seed of the weights.
    dtype, weight_dtype, kv_dtype : numpy float types
        Formats of activations, weights and cache; the latter two as activations unless given, and
        no wider.
    fused : bool
        Whether scores and probabilities stay on chip.

    Attributes
    ----------
    tally : Tally
        What ran so far.
    chosen : dict of int to array
        Experts that each token of the last pass met, by layer.

    Raises
    ------
    ValueError
        If weights or cache are wider than activations, or rotary positions meet an odd dimension.

    Examples
    --------
    >>> from kvlib.workload import Attention, FeedForward, Layer, Transformer
    >>> layer = Layer(Attention(heads=4, kv_heads=2, head_dim=8), FeedForward(48, gated=True))
    >>> shape = Transformer(name="tiny", title="Tiny", family="", layers=(layer,) * 2, hidden=32,
    ...                     vocabulary=64, max_context=16, tied_embeddings=True, position="rope")
    >>> tiny = Reference(shape)
    >>> cache = tiny.cache(batch=1, capacity=16)
    >>> logits = tiny.prefill([[1, 2, 3, 4]], cache)
    >>> tiny.tally["scores"].flop == 2 * (2 * 8 * 4 * (4 * 5 / 2))
    True
    """

    def __init__(
        self,
        model: Transformer,
        seed: int = 0,
        *,
        dtype: Any = np.float64,
        weight_dtype: Any = None,
        kv_dtype: Any = None,
        fused: bool = True,
    ) -> None:
        self.model, self.dtype = model, np.dtype(dtype)
        self.kv_dtype = np.dtype(kv_dtype or dtype)
        stored = np.dtype(weight_dtype or dtype)
        if np.result_type(self.dtype, self.kv_dtype, stored) != self.dtype:
            raise ValueError(
                f"activations of {self.dtype} cannot hold weights of {stored} and a cache of "
                f"{self.kv_dtype}: choose activations at least as wide."
            )
        self.tally = Tally(fused)
        self.weights, self.layer_weights = random_weights(model, self.tally, seed, stored)
        self.chosen: dict[int, Any] = {}
        self._angles = {layer.attention: self._table(layer.attention) for layer in model.layers}

    def cache(self, batch: int, capacity: int) -> Cache:
        """Return an empty cache."""
        return Cache(self.model, self.tally, batch, capacity, self.kv_dtype)

    def prefill(
        self,
        tokens: Any,
        cache: Cache,
        *,
        logits: Literal["last", "all", "none"] = "last",
        absorbed: bool = False,
    ) -> np.ndarray[Any, Any]:
        """Read new tokens of each sequence (batch x tokens) into the cache.

        Returns
        -------
        array
            Scores of the next token, batch x wanted tokens x vocabulary.

        Raises
        ------
        ValueError
            If the tokens are no whole numbers below the vocabulary, are of another batch than the
            cache, or do not fit into it.
        """
        choose(logits, ["last", "all", "none"], "logits")
        tokens = self._checked(tokens, cache)
        new = tokens.shape[1]
        return self._run(tokens, cache, {"last": 1, "all": new, "none": 0}[logits], absorbed)

    def decode(self, tokens: Any, cache: Cache, *, absorbed: bool = True) -> np.ndarray[Any, Any]:
        """Add one token to each sequence, or a few, and return the scores after each of them."""
        tokens = self._checked(tokens, cache)
        return self._run(tokens, cache, tokens.shape[1], absorbed)

    def _run(self, tokens: Any, cache: Cache, wanted: int, absorbed: bool) -> np.ndarray[Any, Any]:
        weights, new = self.weights, tokens.shape[1]
        self.tally.layer = None
        positions = weights.get("positions")
        if positions is not None:
            positions = positions[cache.length : cache.length + new]
        x = op.embedding(weights["embedding"], tokens, positions, self.dtype)
        for index in range(len(self.model.layers)):
            self.tally.layer = index
            x = self._layer(index, x, cache.layers[index], cache.length, absorbed)
        self.tally.layer = None
        cache.length += new
        if not wanted:
            return np.empty((cache.batch, 0, self.model.vocabulary))
        x = op.final_norm(x[:, new - wanted :], weights["final_norm"])
        return np.asarray(op.lm_head(x, weights["lm_head"]))

    def _layer(
        self, index: int, x: Array, cached: list[Array], start: int, absorbed: bool
    ) -> Array:
        layer, weights = self.model.layers[index], self.layer_weights[index]
        y = op.attention_norm(x, weights["attention_norm"])
        if isinstance(layer.attention, Attention):
            y = self._attention(layer.attention, weights, y, cached, start)
        else:
            y = self._latent_attention(layer.attention, weights, y, cached[0], start, absorbed)
        y = op.output_projection(y, weights["output_projection"])
        x = op.attention_residual(x, y)
        y = op.ffn_norm(x, weights["ffn_norm"])
        if isinstance(layer.feed_forward, FeedForward):
            y = op.ffn_up(y, weights["ffn_up"])
            y = op.ffn_activation(y, layer.feed_forward.gated)
            y = op.ffn_down(y, weights["ffn_down"])
        else:
            self.chosen[index], y = self._experts(layer.feed_forward, weights, y)
        return op.ffn_residual(x, y)

    def _attention(
        self,
        attention: Attention,
        weights: dict[str, Any],
        x: Array,
        cached: list[Array],
        start: int,
    ) -> Array:
        heads, kv_heads, width = attention.heads, attention.kv_heads, attention.head_dim
        qkv = op.qkv_projection(x, weights["qkv_projection"])
        rows = qkv.reshape(*qkv.shape[:2], heads + 2 * kv_heads, width)
        queries, keys, values = (
            rows[:, :, :heads], rows[:, :, heads : heads + kv_heads], rows[:, :, heads + kv_heads :]
        )  # fmt: skip
        if attention.query_key_norm:
            queries = op.query_norm(queries, weights["query_norm"])
            keys = op.key_norm(keys, weights["key_norm"])
        self._rotate(attention, queries, keys, start)
        op.kv_append(cached, [keys, values], start)
        all_keys, all_values = cached
        return self._attend(queries, all_keys, all_values, start, width, attention.window)

    def _latent_attention(
        self,
        attention: LatentAttention,
        weights: dict[str, Any],
        x: Array,
        cached: Array,
        start: int,
        absorbed: bool,
    ) -> Array:
        heads, rank, nope = attention.heads, attention.kv_rank, attention.nope_dim
        key_dim = nope + attention.rope_dim
        if attention.q_rank:
            compressed = op.query_down(x, weights["query_down"])
            compressed = op.query_norm(compressed, weights["query_norm"])
            queries = op.query_up(compressed, weights["query_up"])
        else:
            queries = op.query_projection(x, weights["query_projection"])
        queries = queries.reshape(*x.shape[:2], heads, key_dim)
        row = op.kv_down(x, weights["kv_down"])[:, :, None]
        latent = op.kv_norm(row[..., :rank], weights["kv_norm"])
        self._rotate(attention, queries[..., nope:], row[..., rank:], start)
        op.kv_append([cached[..., :rank], cached[..., rank:]], [latent, row[..., rank:]], start)
        if absorbed:
            wide = op.query_absorb(queries, weights["key_matrices"])
            latents = self._attend(wide, cached, cached[..., :rank], start, key_dim)
            latents = latents.reshape(*x.shape[:2], heads, rank)
            return op.value_expand(latents, weights["value_matrices"]).reshape(*x.shape[:2], -1)
        seen = cached[:, : start + x.shape[1], 0]
        matrices = weights["key_matrices"], weights["value_matrices"]
        keys, values = op.kv_expand(seen, *matrices, queries)
        return self._attend(queries, keys, values, start, key_dim)

    def _attend(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        start: int,
        key_dim: int,
        window: int | None = None,
    ) -> Array:
        batch, new, heads, width = queries.shape
        kv_heads = keys.shape[2]
        queries = queries.reshape(batch, new, kv_heads, heads // kv_heads, width)
        sights = [
            Sight(sequence, token, head, *_visible(start + token, window))
            for sequence in range(batch)
            for token in range(new)
            for head in range(kv_heads)
        ]
        rows = op.scores(queries, keys, sights)
        if self.model.position == "alibi":
            slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads) * key_dim**0.5
            slopes = slopes.reshape(kv_heads, -1, 1)
            bias = {at: (slopes[at.head] * at.distances).astype(self.dtype) for at in sights}
            rows = op.position_bias(rows, bias)
        probabilities = op.softmax(rows, key_dim**-0.5)
        room = np.empty_like(queries, shape=(*queries.shape[:-1], values.shape[-1]))
        return op.context(probabilities, values, room).reshape(batch, new, -1)

    def _experts(
        self, network: Experts, weights: dict[str, Any], x: Array
    ) -> tuple[np.ndarray[Any, Any], Array]:
        shape, x = x.shape, x.reshape(-1, x.shape[-1])
        logits = op.router(x, weights["router"])
        chosen, gates = op.routing(logits, network.active)
        y = op.expert_up(x, weights["expert_up"], chosen)
        y = op.expert_activation(y, network.gated)
        y = op.expert_down(y, weights["expert_down"], chosen)
        y = op.expert_combine(y, gates)
        if network.shared:
            z = op.shared_up(x, weights["shared_up"])
            z = op.shared_activation(z, network.gated)
            y = op.shared_add(y, op.shared_down(z, weights["shared_down"]))
        return chosen, y.reshape(shape)

    def _rotate(
        self, attention: Attention | LatentAttention, queries: Array, keys: Array, start: int
    ) -> None:
        if self.model.position == "rope" and keys.shape[-1]:
            positions = slice(start, start + keys.shape[1])
            cosines, sines = (table[positions, None] for table in self._angles[attention])
            op.rotary(queries, keys, cosines, sines)

    def _table(self, attention: Attention | LatentAttention) -> tuple[Any, Any]:
        """Cosines and sines of every position and pair of elements."""
        width = attention.head_dim if isinstance(attention, Attention) else attention.rope_dim
        if self.model.position == "rope" and width % 2:
            raise ValueError(f"rotary positions turn pairs: a width of {width} must be even.")
        frequencies = 10_000.0 ** (-np.arange(width // 2) / max(width // 2, 1))
        angles = np.outer(np.arange(self.model.max_context), frequencies)
        return np.cos(angles).astype(self.dtype), np.sin(angles).astype(self.dtype)

    def _checked(self, tokens: Any, cache: Cache) -> np.ndarray[Any, Any]:
        array = np.asarray(tokens)
        if array.ndim != 2 or array.shape[0] != cache.batch or not array.shape[1]:
            raise ValueError(
                f"tokens of shape {array.shape}: the cache holds {cache.batch} sequences, so give "
                f"{cache.batch} x (new tokens of each)."
            )
        whole(True, token=array)
        if array.max() >= self.model.vocabulary:
            raise ValueError(
                f"token {array.max()} is outside the vocabulary of {self.model.vocabulary}."
            )
        room = min(cache.capacity, self.model.max_context) - cache.length
        if array.shape[1] > room:
            raise ValueError(
                f"{array.shape[1]} new tokens, but room for {room}: the cache holds {cache.length} "
                f"of {cache.capacity}, and the model knows {self.model.max_context} positions."
            )
        return array.astype(int)


def _visible(position: int, window: int | None) -> tuple[int, int]:
    """First and last row that a token sees: its own is the last."""
    return (0 if window is None else max(0, position + 1 - window)), position
