"""Random weights for a small transformer, named after the operators that read them."""

from typing import Any

import numpy as np

from kvlib.reference.operators import Linear, Norm
from kvlib.reference.tally import Array, Tally
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

__all__ = ["random_weights"]


def random_weights(
    model: Transformer, tally: Tally, seed: int, dtype: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw the weights outside the layers, and those of each layer.

    Matrices are normal with variance 1 / inputs, so that no activation grows or fades.
    """
    draw = _Draw(model, tally, np.random.default_rng(seed), dtype)
    outside: dict[str, Any] = {"embedding": draw.matrix(model.vocabulary, model.hidden)}
    if model.position == "learned":
        outside["positions"] = draw.matrix(model.max_context, model.hidden)
    layers = [draw.layer(layer) for layer in model.layers]
    outside["final_norm"] = draw.norm(model.hidden, model.biases)
    if not model.tied_embeddings:
        outside["lm_head"] = draw.linear(model.hidden, model.vocabulary)
    else:
        outside["lm_head"] = Linear(outside["embedding"].T)
    return outside, layers


class _Draw:
    def __init__(self, model: Transformer, tally: Tally, random: Any, dtype: Any) -> None:
        self.model, self.tally, self.random, self.dtype = model, tally, random, dtype

    def matrix(self, *shape: int) -> Array:
        values = self.random.normal(scale=shape[-2] ** -0.5, size=shape)
        return self.tally.place(values.astype(self.dtype), "weights")

    def vector(self, width: int, mean: float) -> Array:
        values = self.random.normal(mean, 0.1, size=width)
        return self.tally.place(values.astype(self.dtype), "weights")

    def linear(self, inputs: int, outputs: int, bias: bool = False) -> Linear:
        return Linear(self.matrix(inputs, outputs), self.vector(outputs, 0.0) if bias else None)

    def norm(self, width: int, shift: bool = False) -> Norm:
        return Norm(self.vector(width, 1.0), self.vector(width, 0.0) if shift else None)

    def layer(self, layer: Layer) -> dict[str, Any]:
        hidden, shift = self.model.hidden, self.model.biases
        parts = [
            {"attention_norm": self.norm(hidden, shift)},
            self.attention(layer.attention)
            if isinstance(layer.attention, Attention)
            else self.latent_attention(layer.attention),
            {"ffn_norm": self.norm(hidden, shift)},
            self.feed_forward("ffn", layer.feed_forward, self.model.biases)
            if isinstance(layer.feed_forward, FeedForward)
            else self.experts(layer.feed_forward),
        ]
        return {name: weight for part in parts for name, weight in part.items()}

    def attention(self, attention: Attention) -> dict[str, Any]:
        hidden, width = self.model.hidden, attention.head_dim
        queries = attention.heads * width
        bias = attention.bias or self.model.biases
        weights: dict[str, Any] = {
            "qkv_projection": self.linear(hidden, queries + attention.kv_elements, bias),
            "output_projection": self.linear(queries, hidden, self.model.biases),
        }
        if attention.query_key_norm:
            weights |= {"query_norm": self.norm(width), "key_norm": self.norm(width)}
        return weights

    def latent_attention(self, attention: LatentAttention) -> dict[str, Any]:
        hidden, heads, rank = self.model.hidden, attention.heads, attention.kv_rank
        queries = heads * (attention.nope_dim + attention.rope_dim)
        weights: dict[str, Any] = {
            "kv_down": self.linear(hidden, attention.kv_elements),
            "kv_norm": self.norm(rank),
            "key_matrices": self.matrix(heads, rank, attention.nope_dim),
            "value_matrices": self.matrix(heads, rank, attention.value_dim),
            "output_projection": self.linear(
                heads * attention.value_dim, hidden, self.model.biases
            ),
        }
        if not attention.q_rank:
            return weights | {"query_projection": self.linear(hidden, queries)}
        return weights | {
            "query_down": self.linear(hidden, attention.q_rank),
            "query_norm": self.norm(attention.q_rank),
            "query_up": self.linear(attention.q_rank, queries),
        }

    def feed_forward(self, name: str, network: FeedForward, bias: bool) -> dict[str, Any]:
        hidden, columns = self.model.hidden, (network.matrices - 1) * network.width
        return {
            f"{name}_up": self.linear(hidden, columns, bias),
            f"{name}_down": self.linear(network.width, hidden, bias),
        }

    def experts(self, network: Experts) -> dict[str, Any]:
        hidden, columns = self.model.hidden, (network.matrices - 1) * network.width
        weights: dict[str, Any] = {
            "router": self.linear(hidden, network.count),
            "expert_up": self.matrix(network.count, hidden, columns),
            "expert_down": self.matrix(network.count, network.width, hidden),
        }
        if network.shared:
            width = network.shared * (network.shared_width or network.width)
            weights |= self.feed_forward("shared", FeedForward(width, network.gated), False)
        return weights
