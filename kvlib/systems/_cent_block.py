"""A transformer block on CENT: which product, which copy and which transfer, by part.

Matrices lie by output over all banks of the devices that share them. Keys lie by token over all
those devices too, in a row of a bank as many heads as it holds; values lie by dimension, each head
in one channel of a single device, or of all of them. Each query head reads the keys and values of
its KV head anew. What the near-memory units compute passes the front end on its way from the banks
and back: normalised vectors, rotated queries and keys, scores before and after softmax
:cite:p:`cent2025repo`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kvlib.quoted import Quoted
from kvlib.systems._cent_program import Place, Program
from kvlib.workload import Attention, FeedForward, LatentAttention, Layer

__all__ = ["MATRICES", "NOTES", "block", "embedding", "notes", "products"]

_NEIGHBOURS, _GROUPS = 2, 4  # a bank pair and a bank group share an element-wise operand
_SCORE_WRITES, _SCORE_READS = (
    Quoted(count, source="cent2025repo", basis="paper", note="crossings of scores, both scalings")
    for count in (4, 2)
)

MATRICES = ("projections", "output", "up", "down")
"""Parts of a block that multiply with weights."""

NOTES = {
    "GQA": "{group} query heads share a KV head; each reads it again, as CENT maps it.",
    "MLA": (
        "CENT does not know MLA: compressed rows are taken for one KV head of {row} elements, "
        "whose {rank} value elements are stored a second time, by dimension; each of the {heads} "
        "heads reads both."
    ),
    "experts": "CENT does not know experts: a token's are taken one after another, by all banks.",
    "plain": "A network without a gate is activated by table, with no element-wise product.",
}
"""What has to be assumed of a layer that CENT's authors did not map, or map with a cost."""


def block(
    place: Place, layer: Layer, hidden: int, context: Any, *, rotary: bool = True
) -> dict[str, Program]:
    """Instructions of one token of one query on the device that attends, by part, in order.

    Parameters
    ----------
    place : Place
        Where the block lies.
    layer : Layer
        The block.
    hidden : int
        Elements of the hidden state.
    context : int or array
        Tokens in the cache with the new one.
    rotary : bool
        Whether queries and keys are rotated.
    """
    attention = layer.attention
    if attention.window is not None:
        context = np.minimum(context, attention.window)
    heads, kv_heads, key, value = _heads(attention)
    matrices = products(place, layer, hidden)
    parts = {
        "norm": _norm(place, hidden),
        "projections": matrices["projections"],
        "rotary": _rotary(place, hidden, attention),
        "append": _append(place, kv_heads, key, value),
        "scores": _scores(place, heads, kv_heads, key, context),
        "softmax": _softmax(place, heads, context),
        "values": _values(place, heads, kv_heads, value, context),
        "output": matrices["output"],
        "second norm": _norm(place, hidden),
        "up": matrices["up"],
        "activation": _activation(place, layer, hidden),
        "down": matrices["down"],
    }
    return parts if rotary else {name: part for name, part in parts.items() if name != "rotary"}


def products(place: Place, layer: Layer, hidden: int) -> dict[str, Program]:
    """Products of a block with its matrices, on each device that shares them."""
    found = dict.fromkeys(MATRICES, Program({}, {}))
    for name, outputs, inputs, count, activated in _shapes(layer, hidden):
        found[name] = found[name] + place.product(outputs, inputs, activated=activated) * count
    return found


def embedding(place: Place, hidden: int, vocabulary: int, *, look_up: bool = False) -> Program:
    """Embedding of a token, last norm and LM head.

    The embedding is a full product with a vector that has a single one, unless looked up.
    """
    first = place.move(0, place.columns(hidden)) if look_up else place.product(hidden, vocabulary)
    size = place.columns(_slice(place, hidden, _GROUPS))
    norm = place.passes(1, place.columns(_slice(place, hidden, _NEIGHBOURS)), 1, 1)
    scale = place.multiply_elements(2 * size, 2) + place.copy(size)
    vector = _stored(place, hidden, _GROUPS)
    return first + norm + scale + place.move(vector, vector) + place.product(vocabulary, hidden)


def notes(layer: Layer) -> tuple[str, ...]:
    """What had to be assumed of a layer."""
    attention, network = layer.attention, layer.feed_forward
    found = []
    if isinstance(attention, LatentAttention):
        sizes = {"row": attention.kv_elements, "rank": attention.kv_rank, "heads": attention.heads}
        found.append(NOTES["MLA"].format(**sizes))
    elif attention.group > 1:
        found.append(NOTES["GQA"].format(group=attention.group))
    if not isinstance(network, FeedForward):
        found.append(NOTES["experts"])
    if not network.gated:
        found.append(NOTES["plain"])
    return tuple(found)


def _heads(attention: Attention | LatentAttention) -> tuple[int, int, int, int]:
    """Query heads, KV heads, elements of a key and of a value."""
    if isinstance(attention, Attention):
        return attention.heads, attention.kv_heads, attention.head_dim, attention.head_dim
    return attention.heads, 1, attention.kv_elements, attention.kv_rank


def _shapes(layer: Layer, hidden: int) -> Iterator[tuple[str, int, int, int, bool]]:
    """Part, outputs, inputs, number and activation of the matrices that a token meets."""
    attention, network = layer.attention, layer.feed_forward
    if isinstance(attention, Attention):
        rows = attention.heads * attention.head_dim
        yield "projections", rows, hidden, 1, False
        yield "projections", attention.kv_elements // 2, hidden, 2, False
    else:
        nope, rank = attention.nope_dim, attention.kv_rank
        if attention.q_rank:
            yield "projections", attention.q_rank, hidden, 1, False
        queries = attention.heads * (nope + attention.rope_dim)
        yield "projections", queries, attention.q_rank or hidden, 1, False
        yield "projections", attention.kv_elements, hidden, 1, False
        yield "projections", rank, nope, attention.heads, False
        yield "output", attention.value_dim, rank, attention.heads, False
        rows = attention.heads * attention.value_dim
    yield "output", hidden, rows, 1, False
    for width, count in _widths(layer):
        yield "up", width, hidden, count, True
        if network.gated:
            yield "up", width, hidden, count, False
        yield "down", hidden, width, count, False
    if not isinstance(network, FeedForward):
        yield "up", network.count, hidden, 1, False


def _widths(layer: Layer) -> Iterator[tuple[int, int]]:
    """Width and number of the feed-forward networks that a token meets."""
    network = layer.feed_forward
    if isinstance(network, FeedForward):
        yield network.width, 1
        return
    yield network.width, network.active
    if network.shared:
        yield network.shared_width or network.width, network.shared


def _slice(place: Place, elements: int, sharing: int) -> int:
    """Elements of a vector in one bank, if so many banks share an operand."""
    return -(-elements * sharing // place.banks)


def _stored(place: Place, elements: int, sharing: int, scale: float = 1.0) -> float:
    """Columns that a vector fills over the banks it is dealt out to."""
    each = _slice(place, elements, sharing)
    return float(np.ceil(each * scale / place.elements) * np.ceil(elements / each))


def _norm(place: Place, hidden: int) -> Program:
    pairs, groups = (_stored(place, hidden, sharing) for sharing in (_NEIGHBOURS, _GROUPS))
    columns = place.columns(_slice(place, hidden, _GROUPS))
    squares = place.columns(_slice(place, hidden, _NEIGHBOURS))
    return (
        place.move(2 * pairs + 2 * groups, groups)
        + place.passes(1, squares, 1, 1)
        + place.multiply_elements(2 * columns, 2)
        + place.copy(columns)
    )


def _rotary(place: Place, hidden: int, attention: Attention | LatentAttention) -> Program:
    """Queries and keys as pairs, in and out; keys are fewer than queries by the group."""
    group = attention.group if isinstance(attention, Attention) else 1
    moved = _stored(place, hidden, _GROUPS, 2) + _stored(place, hidden, _GROUPS, 2 / group)
    columns = place.columns(hidden) + place.columns(hidden / group)
    return place.move(2 * moved) + place.multiply_elements(columns, 2)


def _append(place: Place, kv_heads: int, key: int, value: int) -> Program:
    """The new key by token, its whole rows; the new value by dimension."""
    rows = np.ceil(kv_heads * key / place.row)
    turns = np.ceil(kv_heads / place.channels) * np.ceil(value / place.pim.units)
    return place.move(rows * place.pim.row_columns) + place.scatter(turns)


def _scores(place: Place, heads: int, kv_heads: int, key: int, context: Any) -> Program:
    """Queries with keys: a row holds several heads of a token and stays open for all of them."""
    per_row = max(place.row // key, 1)
    rows = np.ceil(kv_heads / per_row) * np.ceil(key / place.row)
    tokens = np.ceil(context / (place.banks * place.devices))
    turns = np.ceil(heads / kv_heads / place.pim.reuse) * kv_heads
    columns = place.columns(key)
    return place.fill(tokens * heads * columns) + place.passes(
        tokens * turns, tokens * turns * columns, tokens * heads, tokens * rows
    )


def _values(place: Place, heads: int, kv_heads: int, value: int, context: Any) -> Program:
    """Probabilities with values: a row holds one dimension of many tokens."""
    group, units = heads / kv_heads, place.pim.units
    near = place.banks * place.devices // kv_heads  # banks for each head, over all devices
    if place.spread_values and near >= units:
        here, dims = 1.0, np.ceil(value / near)
    else:
        here, dims = np.ceil(kv_heads / place.channels), np.ceil(value / units)
    runs = here * dims * np.ceil(context / place.row)
    columns = place.columns(context)
    again = np.ceil(group / place.pim.reuse)
    return place.fill(here * group * columns) + place.passes(
        runs * again, here * dims * again * columns, runs * group, runs * again
    )


def _softmax(place: Place, heads: int, context: Any) -> Program:
    """Scores to the near-memory units and back, scaled in the banks twice."""
    columns = place.columns(context)
    turns = np.ceil(heads / (place.channels * place.pim.units / _GROUPS))
    scaled = place.multiply_elements(turns * columns, turns * np.ceil(context / place.row))
    moved = place.move(_SCORE_WRITES * heads * columns, _SCORE_READS * heads * columns)
    return scaled * 2 + moved


def _activation(place: Place, layer: Layer, hidden: int) -> Program:
    """Gate, its activation and the other branch: multiplied twice in the banks."""
    total = Program({}, {})
    if not layer.feed_forward.gated:
        return total
    for width, count in _widths(layer):
        each, left = _slice(place, width, _GROUPS), float(np.ceil(width / _slice(place, width, 4)))
        for piece in [place.row] * (each // place.row) + [each % place.row]:
            if piece:
                columns = place.columns(piece)
                moved = place.move(3 * columns * left, columns * left)
                scaled = place.multiply_elements(2 * columns, 2) + place.copy(columns)
                total = total + (moved + scaled) * count
    return total
