"""From a state to its pieces: what changes the reuse, or the reads of each byte, is a piece."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.precision import itemsize
from kvlib.segments._pieces import Column, Pieces, Stage, merge
from kvlib.segments._state import Prefix, Requests, State
from kvlib.workload import Attention, Experts, LatentAttention, Layer, Transformer

__all__ = ["pieces", "ranges"]

_STATISTICS = 8.0
"""Bytes of one softmax row's running maximum and sum, in single precision."""


def pieces(state: State, *, deduplicated: bool = True) -> Pieces:
    r"""Split the cache of a state by nature.

    .. math:: r = F / Q, \qquad F = 4\, n_\text{heads}\, d\, q \sum_i \ell_i, \qquad
              Q = 2\, n_\text{KV}\, d\, s\, \ell

    for requests i that see :math:`\ell_i` of the :math:`\ell` tokens with q queries each; for MLA
    with the rows of `kvlib.attention.reuse`. As there, all q queries are taken to see all tokens.

    Parameters
    ----------
    state : State
        What is served.
    deduplicated : bool
        Whether kernels read a shared byte once for all its sharers. If not, it is still held once,
        but read once for each, and its r is that of a private one.

    Returns
    -------
    Pieces
        One piece for each model, kind of layer, number of sharers, number of new tokens, range of
        tokens where attention is declared sparse, and active or not.

    Examples
    --------
    A thousand requests of a thousand lengths are one piece:

    >>> from kvlib import model
    >>> from kvlib.segments import Requests, State
    >>> state = State([Requests(model("llama-2-70b"), context=range(500, 1500))])
    >>> len(pieces(state)), pieces(state).reuse
    (1, array([8.]))
    """
    kinds = [(model, layer) for model in state.models for layer in model.groups]
    rows = [
        run.row(stage, layer.attention, model.groups[layer], state)
        for stage, (model, layer) in enumerate(kinds)
        for group in state.groups
        if group.model.name == model.name
        for run in _runs(group, layer, deduplicated)
    ]
    stages = (Stage(model.name, _kind(layer, model), model.groups[layer]) for model, layer in kinds)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "spans"}
    spans = tuple(row["spans"] for row in rows)
    return merge(Pieces(**columns, stages=tuple(stages), spans=spans))


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Tokens of one nature in one layer: those held, those read in a step, and all their reads."""

    name: str
    held: float
    touched: float
    reads: float
    readers: float
    query_tokens: int
    appended: float
    dropped: float
    lifetime: float
    copies: float
    active: bool
    spans: Column

    def row(
        self, stage: int, attention: Attention | LatentAttention, layers: int, state: State
    ) -> dict[str, Any]:
        """Tokens as the columns of one piece."""
        size, element = itemsize(state.kv_precision or state.precision), itemsize(state.precision)
        latent = isinstance(attention, LatentAttention)
        if isinstance(attention, LatentAttention):
            key, value = attention.kv_elements, attention.kv_rank
        else:
            key = value = attention.head_dim
        heads = 1 if isinstance(attention, LatentAttention) else attention.kv_heads
        token, vectors = layers * attention.kv_elements * size, layers * attention.heads
        rows = self.readers * self.query_tokens * vectors
        return {
            "stage": stage,
            "part": "latent" if latent else "KV",
            "head": -1,
            "tokens": self.name,
            "sharers": self.reads / self.touched if self.touched else 1.0,
            "query_tokens": self.query_tokens,
            "active": self.active,
            "bytes": self.held * token,
            "touched": self.touched * token,
            "flop": 2.0 * self.reads * self.query_tokens * vectors * (key + value),
            "appended": self.appended * token,
            "dropped": self.dropped * token,
            "renewed": self.held * token / self.lifetime,
            "queries": rows * key * element,
            "results": rows * (value * element + _STATISTICS),
            "scores": self.reads * self.query_tokens * vectors * element,
            "units": self.copies * heads,
            "heads": heads,
            "spans": self.spans,
        }


def _runs(group: Requests | Prefix, layer: Layer, deduplicated: bool) -> Iterator[_Run]:
    """Tokens of a group in one layer, by nature."""
    if isinstance(group, Prefix):
        reads = group.tokens * group.sharers
        yield _Run(
            name="prefix", held=group.tokens, touched=group.tokens if deduplicated else reads,
            reads=reads, readers=group.readers, query_tokens=group.query_tokens, appended=0.0,
            dropped=0.0, lifetime=group.lifetime, copies=1.0, active=True,
            spans=np.array([[0.0, group.tokens]]),
        )  # fmt: skip
        return
    new, own = group.query_tokens, group.context - group.prefix
    window = layer.attention.window
    seen = group.context if window is None else np.minimum(group.context, window + new - 1)
    private, shared = np.minimum(seen, own), np.maximum(seen - own, 0)
    reading = 1.0 if group.active else 0.0
    starts = group.context - private
    full = (private == seen) & (seen < group.context)  # each new token drives an old one out
    common: dict[str, Any] = {"query_tokens": new, "active": group.active}
    sparse = group.sparse if window is None else None
    limits = (sparse.sinks, sparse.recent) if sparse else None
    for name, lengths, newest in ranges(starts, private, limits):
        part = sparse.fraction if sparse and name == "middle" else 1.0
        there = lengths > 0
        if there.any():
            held = float(lengths.sum())
            yield _Run(
                name=name, held=held, touched=reading * part * held, reads=reading * part * held,
                readers=reading * there.sum(), lifetime=group.lifetime, copies=float(there.sum()),
                appended=reading * new * newest.sum(), dropped=reading * new * (there & full).sum(),
                spans=np.stack([starts, lengths], axis=1)[there], **common,
            )  # fmt: skip
    if (held := float(shared.max())) > 0:
        reads = reading * float(shared.sum())
        yield _Run(
            name="prefix", held=held, touched=reading * held if deduplicated else reads,
            reads=reads, readers=reading * (shared > 0).sum(), lifetime=group.prefix_lifetime,
            copies=1.0, appended=0.0, dropped=0.0,
            spans=np.array([[group.prefix - held, held]]), **common,
        )  # fmt: skip


def ranges(
    starts: Column, lengths: Column, limits: tuple[int, int] | None
) -> Iterator[tuple[str, Column, Column]]:
    """Cut each request's tokens into the first of its context, the newest, and those between.

    Yields a name, the tokens of each request, and whether its new tokens are among them.
    """
    if limits is None:
        yield "all", lengths, lengths > 0
        return
    sinks = np.clip(limits[0] - starts, 0, lengths)
    recent = np.minimum(limits[1], lengths - sinks)
    middle = lengths - sinks - recent
    yield "sink", sinks, (middle == 0) & (recent == 0)
    yield "middle", middle, (middle > 0) & (recent == 0)
    yield "recent", recent, recent > 0


def _kind(layer: Layer, model: Transformer) -> str:
    """Name what sets a layer apart from the other layers of its model."""
    attention, others = layer.attention, list(model.groups)
    words = [attention.kind] + ([f"window {attention.window}"] if attention.window else [])
    if len({type(other.feed_forward) for other in others}) > 1:
        words.append("experts" if isinstance(layer.feed_forward, Experts) else "dense")
    return " ".join(words)
