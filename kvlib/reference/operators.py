"""The operators of a transformer, one short function each, in the order in which a layer runs them.

Arrays are (batch, token, ...) throughout. The names are those of `kvlib.phases`.
"""

from typing import Any, NamedTuple

import numpy as np

from kvlib.reference.tally import Array, on_chip_operator, operator

__all__ = [
    "Linear", "Norm", "Sight", "attention_norm", "attention_residual", "context", "embedding",
    "expert_activation", "expert_combine", "expert_down", "expert_up", "ffn_activation", "ffn_down",
    "ffn_norm", "ffn_residual", "ffn_up", "final_norm", "key_norm", "kv_append", "kv_down",
    "kv_expand", "kv_norm", "lm_head", "output_projection", "position_bias", "qkv_projection",
    "query_absorb", "query_down", "query_norm", "query_projection", "query_up", "rotary", "router",
    "routing", "scores", "shared_activation", "shared_add", "shared_down", "shared_up", "softmax",
    "value_expand",
]  # fmt: skip


class Linear(NamedTuple):
    """A matrix of inputs x outputs, and a bias or None."""

    matrix: Array
    bias: Array | None = None


class Norm(NamedTuple):
    """A scale, and a shift or None: with a shift the norm is a layer norm."""

    scale: Array
    shift: Array | None = None


class Sight(NamedTuple):
    """One new token of one sequence, one KV head, and the cached rows seen: `first` to `last`."""

    sequence: int
    token: int
    head: int
    first: int
    last: int

    @property
    def rows(self) -> slice:
        """The rows as a slice of the cache."""
        return slice(self.first, self.last + 1)

    @property
    def distances(self) -> Any:
        """Minus the tokens from each row to the last."""
        return np.arange(self.first - self.last, 1)


def _apply(x: Array, weight: Linear) -> Array:
    y = x @ weight.matrix
    return y if weight.bias is None else y + weight.bias


def _normalise(x: Array, weight: Norm) -> Array:
    width = x.shape[-1]
    if weight.shift is not None:
        x = x - x.sum(axis=-1, keepdims=True) / width
    size = np.sqrt((x * x).sum(axis=-1, keepdims=True) / width + 1e-5)
    y = x / size * weight.scale
    return y if weight.shift is None else y + weight.shift


def _activate(x: Array, gated: bool) -> Array:
    if gated:
        half = x.shape[-1] // 2
        gate, up = x[..., :half], x[..., half:]
        return gate / (1 + np.exp(-gate)) * up
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x)))


# ---- into the model -------------------------------------------------------------------------


@operator
def embedding(table: Array, tokens: Any, positions: Array | None, dtype: Any) -> Array:
    """One row of the table for each token, and one of the learned positions if there are any."""
    rows = table[tokens].astype(dtype)
    return rows if positions is None else rows + positions


# ---- attention ------------------------------------------------------------------------------


@operator
def attention_norm(x: Array, weight: Norm) -> Array:
    """Normalise the hidden state before attention."""
    return _normalise(x, weight)


@operator
def qkv_projection(x: Array, weight: Linear) -> Array:
    """Queries of all heads, then keys, then values: one product."""
    return _apply(x, weight)


@operator
def query_norm(queries: Array, weight: Norm) -> Array:
    """Normalise each query head, or in MLA the compressed query."""
    return _normalise(queries, weight)


@operator
def key_norm(keys: Array, weight: Norm) -> Array:
    """Normalise each key head."""
    return _normalise(keys, weight)


@operator
def rotary(queries: Array, keys: Array, cosines: Any, sines: Any) -> None:
    """Turn the pairs of each query and key by the angle of its position, in place."""
    for rows in queries, keys:
        half = rows.shape[-1] // 2
        a, b = rows[..., :half], rows[..., half:]
        rows[..., :half], rows[..., half:] = a * cosines - b * sines, a * sines + b * cosines


@operator
def kv_append(caches: list[Array], rows: list[Array], start: int) -> None:
    """Write the new rows behind those already cached."""
    for cache, new in zip(caches, rows, strict=True):
        cache[:, start : start + new.shape[1]] = new


@on_chip_operator
def scores(queries: Array, keys: Array, sights: list[Sight]) -> dict[Sight, Array]:
    """Each query against the keys it sees: the rows of a group share every key."""
    return {
        at: queries[at.sequence, at.token, at.head] @ keys[at.sequence, at.rows, at.head].T
        for at in sights
    }


@on_chip_operator
def position_bias(rows: dict[Sight, Array], bias: dict[Sight, Any]) -> dict[Sight, Array]:
    """Add to each score what the distance costs (ALiBi)."""
    return {at: row + bias[at] for at, row in rows.items()}


@on_chip_operator
def softmax(rows: dict[Sight, Array], scale: float) -> dict[Sight, Array]:
    """Scores to probabilities."""
    return {at: _probabilities(row * scale) for at, row in rows.items()}


def _probabilities(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@operator
def context(probabilities: dict[Sight, Array], values: Array, result: Array) -> Array:
    """Averages of the values that each query sees, weighted by its probabilities."""
    for at, row in probabilities.items():
        result[at.sequence, at.token, at.head] = row @ values[at.sequence, at.rows, at.head]
    return result


@operator
def output_projection(x: Array, weight: Linear) -> Array:
    """All heads back to one hidden state."""
    return _apply(x, weight)


@operator
def attention_residual(x: Array, attended: Array) -> Array:
    """Add what attention found."""
    return x + attended


# ---- multi-head latent attention ------------------------------------------------------------


@operator
def query_projection(x: Array, weight: Linear) -> Array:
    """Queries straight from the hidden state."""
    return _apply(x, weight)


@operator
def query_down(x: Array, weight: Linear) -> Array:
    """Compress the query."""
    return _apply(x, weight)


@operator
def query_up(x: Array, weight: Linear) -> Array:
    """Expand it to all heads."""
    return _apply(x, weight)


@operator
def kv_down(x: Array, weight: Linear) -> Array:
    """One compressed row for all heads' keys and values, and a rotary key beside it."""
    return _apply(x, weight)


@operator
def kv_norm(latent: Array, weight: Norm) -> Array:
    """Normalise the compressed row."""
    return _normalise(latent, weight)


@operator
def query_absorb(queries: Array, key_matrices: Array) -> Array:
    """Move each head's query into the compressed space; its rotary part goes along."""
    heads, rank, nope = key_matrices.shape
    rotary_part = queries[..., nope:]
    wide = np.empty_like(queries, shape=(*queries.shape[:-1], rank + rotary_part.shape[-1]))
    for head in range(heads):
        wide[:, :, head, :rank] = queries[:, :, head, :nope] @ key_matrices[head].T
    wide[..., rank:] = rotary_part
    return wide


@operator
def value_expand(latents: Array, value_matrices: Array) -> Array:
    """Each head's average of compressed rows to an average of values."""
    heads, _, width = value_matrices.shape
    values = np.empty_like(latents, shape=(*latents.shape[:-1], width))
    for head in range(heads):
        values[:, :, head] = latents[:, :, head] @ value_matrices[head]
    return values


@operator
def kv_expand(
    rows: Array, key_matrices: Array, value_matrices: Array, like: Array
) -> tuple[Array, Array]:
    """The other way: every cached row to keys and values of every head."""
    heads, rank, nope = key_matrices.shape
    latents, rotary_part = rows[..., :rank], rows[..., rank:]
    shape = (*rows.shape[:2], heads)
    keys = np.empty_like(like, shape=(*shape, nope + rotary_part.shape[-1]))
    values = np.empty_like(like, shape=(*shape, value_matrices.shape[-1]))
    for head in range(heads):
        keys[:, :, head, :nope] = latents @ key_matrices[head]
        keys[:, :, head, nope:] = rotary_part
        values[:, :, head] = latents @ value_matrices[head]
    return keys, values


# ---- feed-forward ---------------------------------------------------------------------------


@operator
def ffn_norm(x: Array, weight: Norm) -> Array:
    """Normalise the hidden state before the feed-forward network."""
    return _normalise(x, weight)


@operator
def ffn_up(x: Array, weight: Linear) -> Array:
    """Gate and up, or up alone: one product."""
    return _apply(x, weight)


@operator
def ffn_activation(x: Array, gated: bool) -> Array:
    """SiLU of the gate times up, or GELU."""
    return _activate(x, gated)


@operator
def ffn_down(x: Array, weight: Linear) -> Array:
    """Back to the hidden state."""
    return _apply(x, weight)


@operator
def ffn_residual(x: Array, change: Array) -> Array:
    """Add what the network found."""
    return x + change


# ---- experts --------------------------------------------------------------------------------


@operator
def router(x: Array, weight: Linear) -> Array:
    """A score for each expert."""
    return _apply(x, weight)


@operator
def routing(logits: Array, active: int) -> tuple[Any, Array]:
    """Which experts a token meets, and with what weight; the weights of one token add up to one."""
    probabilities = _probabilities(logits)
    chosen = np.asarray(np.argsort(probabilities, axis=-1))[..., -active:]
    gates = np.take_along_axis(probabilities, chosen, axis=-1)
    return chosen, gates / gates.sum(axis=-1, keepdims=True)


@operator
def expert_up(x: Array, matrices: Array, chosen: Any) -> Array:
    """Gate and up of the experts that each token chose."""
    result = np.empty_like(x, shape=(*chosen.shape, matrices.shape[-1]))
    for expert in np.unique(chosen):
        token, slot = np.nonzero(chosen == expert)
        result[token, slot] = x[token] @ matrices[expert]
    return result


@operator
def expert_activation(x: Array, gated: bool) -> Array:
    """SiLU of the gate times up, or GELU."""
    return _activate(x, gated)


@operator
def expert_down(x: Array, matrices: Array, chosen: Any) -> Array:
    """Back to the hidden state, once for each chosen expert."""
    result = np.empty_like(x, shape=(*chosen.shape, matrices.shape[-1]))
    for expert in np.unique(chosen):
        token, slot = np.nonzero(chosen == expert)
        result[token, slot] = x[token, slot] @ matrices[expert]
    return result


@operator
def expert_combine(x: Array, gates: Array) -> Array:
    """Add up what the chosen experts found, by their weights."""
    return (x * gates[..., None]).sum(axis=-2)


@operator
def shared_up(x: Array, weight: Linear) -> Array:
    """The same for the experts that every token meets."""
    return _apply(x, weight)


@operator
def shared_activation(x: Array, gated: bool) -> Array:
    """SiLU of the gate times up, or GELU."""
    return _activate(x, gated)


@operator
def shared_down(x: Array, weight: Linear) -> Array:
    """Back to the hidden state."""
    return _apply(x, weight)


@operator
def shared_add(x: Array, shared: Array) -> Array:
    """Add what the shared experts found."""
    return x + shared


# ---- out of the model -----------------------------------------------------------------------


@operator
def final_norm(x: Array, weight: Norm) -> Array:
    """Normalise the last hidden state."""
    return _normalise(x, weight)


@operator
def lm_head(x: Array, weight: Linear) -> Array:
    """A score for each token of the vocabulary."""
    return _apply(x, weight)
