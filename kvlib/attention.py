"""Attention to a cache: what it computes, what it reads, and the reuse r between the two.

A query attends to every cached row it can see. A step brings `query_tokens` new tokens to each
sequence; once they are appended the cache holds `context` tokens: the last query sees all of them,
the one before it one fewer. Each cached row is read once for all query rows that meet it: those of
the query heads that share its KV head, and those of all new tokens.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.operators import Work, plain
from kvlib.precision import element_size
from kvlib.workload import Attention, LatentAttention

__all__ = ["AttentionShape", "append", "attend", "context", "reuse", "scores", "softmax"]


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Sizes of one attention: who looks at what.

    Parameters
    ----------
    batch : int or array
        Sequences.
    query_tokens : int or array
        New tokens of each sequence.
    context : int or array
        Tokens in each sequence's cache once the new ones are appended.
    heads, kv_heads : int or array
        Query heads, and heads of keys and values.
    key_dim, value_dim : int
        Elements of one head's key and value.
    window : int, optional
        Tokens a query sees, itself included; None for all. A window may exceed the context.
    values_in_keys : bool
        Whether the value is a part of the key row, as in absorbed MLA: then one read serves both.
    cached : bool
        Whether rows come from the cache, or are activations, as in naive MLA.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or there are more new tokens than context.

    Examples
    --------
    >>> prompt = AttentionShape(batch=1, query_tokens=4, context=4, heads=32, kv_heads=8,
    ...                         key_dim=128, value_dim=128)
    >>> prompt.positions
    10.0
    """

    batch: Any
    query_tokens: Any
    context: Any
    heads: Any
    kv_heads: Any
    key_dim: int
    value_dim: int
    window: int | None = None
    values_in_keys: bool = False
    cached: bool = True

    def __post_init__(self) -> None:
        whole(batch=self.batch, query_tokens=self.query_tokens, context=self.context)
        whole(heads=self.heads, kv_heads=self.kv_heads)
        whole(key_dim=self.key_dim, value_dim=self.value_dim)
        least = plain(np.min(self.context - self.query_tokens))
        if least < 0:
            raise ValueError(
                f"context - new tokens = {least} must not be negative: "
                f"the context includes the new tokens, so count the cached ones and these."
            )

    @cached_property
    def positions(self) -> Any:
        r"""Pairs of a query and a key it sees, for one head of one sequence.

        .. math:: \sum_{i=1}^{q} \min(c + i, w), \qquad c = \text{context} - q

        which is L (L + 1) / 2 for a prompt of L tokens without a window.
        """
        queries = 1.0 * self.query_tokens
        cached = self.context - queries
        if self.window is None:
            return queries * cached + queries * (queries + 1) / 2
        growing = plain(np.minimum(np.maximum(self.window - cached, 0.0), queries))
        full = queries - growing
        return growing * cached + growing * (growing + 1) / 2 + full * self.window

    @cached_property
    def rows(self) -> Any:
        """Rows of one head's cache that some query sees."""
        if self.window is None:
            return 1.0 * self.context
        return plain(np.minimum(1.0 * self.context, self.window + 1.0 * self.query_tokens - 1))

    @cached_property
    def pairs(self) -> Any:
        """Pairs of a query row and a key row: `positions` of all heads and sequences."""
        return self.positions * self.batch * self.heads

    def _rows_read(self, width: int, element_bytes: Any, kv_bytes: Any) -> dict[str, Any]:
        elements = self.rows * self.batch * (self.kv_heads * width)
        if self.cached:
            return {"kv": elements * kv_bytes}
        return {"activations": elements * element_bytes}

    def _query_rows(self, width: int) -> Any:
        return 1.0 * self.batch * self.query_tokens * (self.heads * width)


def scores(shape: AttentionShape, *, element_bytes: Any, kv_bytes: Any, fused: bool = True) -> Work:
    r"""Products of queries and keys: :math:`S = Q K^\top`.

    Parameters
    ----------
    shape : AttentionShape
        Who looks at what.
    element_bytes, kv_bytes : float or array
        Size of one activation and of one cached element [B].
    fused : bool
        Whether scores and probabilities stay on chip, as in flash attention
        :cite:p:`dao2022flashattention`; otherwise each is written and read.

    Returns
    -------
    Work
        :math:`2\,d_\text{key}` operations a pair; each visible key row read once.
    """
    positive(element_bytes=element_bytes, kv_bytes=kv_bytes)
    keys = Work(**shape._rows_read(shape.key_dim, element_bytes, kv_bytes))
    stored = 0.0 if fused else shape.pairs
    return keys + Work(
        flop=2.0 * shape.key_dim * shape.pairs,
        activations=(shape._query_rows(shape.key_dim) + stored) * element_bytes,
    )


def softmax(shape: AttentionShape, *, element_bytes: Any, fused: bool = True) -> Work:
    """Scores to probabilities: scale, maximum, subtract, exponential, sum, divide: 6 a pair."""
    positive(element_bytes=element_bytes)
    moved = 0.0 if fused else 2 * shape.pairs * element_bytes
    return Work(flop=6 * shape.pairs, activations=moved)


def context(
    shape: AttentionShape, *, element_bytes: Any, kv_bytes: Any, fused: bool = True
) -> Work:
    r"""Averages of values by their probabilities: :math:`O = P V`.

    Returns
    -------
    Work
        :math:`2\,d_\text{value}` operations a pair; each visible value row read once, unless it is
        a part of the key row that a fused kernel still holds.
    """
    positive(element_bytes=element_bytes, kv_bytes=kv_bytes)
    held = shape.values_in_keys and fused
    values = {} if held else shape._rows_read(shape.value_dim, element_bytes, kv_bytes)
    stored = 0.0 if fused else shape.pairs
    return Work(**values) + Work(
        flop=2.0 * shape.value_dim * shape.pairs,
        activations=(shape._query_rows(shape.value_dim) + stored) * element_bytes,
    )


def attend(shape: AttentionShape, *, element_bytes: Any, kv_bytes: Any, fused: bool = True) -> Work:
    """Scores, softmax and context together, as one kernel runs them.

    Examples
    --------
    One new token of one sequence in one layer of Llama-3-8B, 4,096 tokens of context:

    >>> shape = AttentionShape(batch=1, query_tokens=1, context=4096, heads=32, kv_heads=8,
    ...                        key_dim=128, value_dim=128)
    >>> attend(shape, element_bytes=2, kv_bytes=2).kv / 2**20
    16.0
    """
    sizes = {"element_bytes": element_bytes, "kv_bytes": kv_bytes, "fused": fused}
    probabilities = softmax(shape, element_bytes=element_bytes, fused=fused)
    return scores(shape, **sizes) + probabilities + context(shape, **sizes)


def append(rows: Any, width: Any, *, element_bytes: Any, kv_bytes: Any) -> Work:
    """Write new rows to the cache: read as activations, written in the cache's format."""
    whole(rows=rows, width=width)
    positive(element_bytes=element_bytes, kv_bytes=kv_bytes)
    elements = 1.0 * rows * width
    return Work(kv=elements * kv_bytes, activations=elements * element_bytes)


def reuse(
    attention: Attention | LatentAttention,
    *,
    query_tokens: Any = 1,
    sharers: Any = 1,
    absorbed: bool = True,
    kv_precision: Any = "fp16",
) -> Any:
    r"""Reuse r: operations for each byte of cache read [flop/B].

    .. math::

        r = \frac{n_\text{heads}}{n_\text{KV}} \cdot \frac{2 q n}{s}
        \qquad\text{or, for MLA,}\qquad
        r = \frac{2\, n_\text{heads}\, q n\, (2 d_\text{rank} + d_\text{rope})}
                 {(d_\text{rank} + d_\text{rope})\, s}

    with q new tokens a step, n sequences that share the cache, and s bytes an element: at two
    bytes, the query rows that meet each cached row. Softmax is left out. All query tokens are taken
    to see all rows, as in a context much longer than the step.

    Parameters
    ----------
    attention : Attention or LatentAttention
        The layer's attention.
    query_tokens : int or array
        New tokens of a sequence in one step: 1 in plain decoding, k + 1 with k speculated tokens.
    sharers : int or array
        Sequences that share the piece of cache, for a common prefix.
    absorbed : bool
        For MLA, whether queries are moved into the compressed space. If not, each row is first
        expanded to keys and values of every head, once a step; that work is included.
    kv_precision : str, float or array
        Format of the cache, or bytes of one element [B].

    Examples
    --------
    >>> reuse(Attention(heads=32, kv_heads=32, head_dim=128))
    1.0
    >>> reuse(Attention(heads=32, kv_heads=8, head_dim=128), sharers=64)
    256.0
    >>> latent = LatentAttention(heads=128, kv_rank=512, q_rank=1536, nope_dim=128, rope_dim=64,
    ...                          value_dim=128)
    >>> print(f"{reuse(latent):.0f} {reuse(latent, kv_precision='fp8'):.0f}")
    242 484
    """
    whole(query_tokens=query_tokens, sharers=sharers)
    rows = 1.0 * query_tokens * sharers
    if isinstance(attention, Attention):
        operations = 4 * attention.heads * attention.head_dim * rows
    elif absorbed:
        row = 2 * attention.kv_rank + attention.rope_dim
        operations = 2 * attention.heads * row * rows
    else:
        expanded = attention.nope_dim + attention.value_dim
        row = expanded + attention.rope_dim
        operations = 2 * attention.heads * (row * rows + attention.kv_rank * expanded)
    return operations / (attention.kv_elements * element_size(kv_precision))
