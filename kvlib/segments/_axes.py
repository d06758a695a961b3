"""Further axes of splitting: layers, keys and values, heads, tokens. None changes the reuse."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kvlib.checks import whole
from kvlib.segments._nature import ranges
from kvlib.segments._pieces import SUMS, Column, Pieces, concatenate, merge

__all__ = ["by_head", "by_layer", "by_part", "by_tokens"]


def _divide(split: Pieces, counts: Column) -> tuple[Pieces, Column]:
    """Cut every piece into equal parts, and number the parts of each."""
    index = np.repeat(np.arange(len(split)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    shares = {name: (getattr(split, name) / counts)[index] for name in SUMS}
    return split.take(index, **shares), number


def by_layer(split: Pieces) -> Pieces:
    """Split every piece into its layers, each a stage of its own.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.segments import Requests, State, pieces
    >>> one = pieces(State([Requests(model("llama-3-8b"), context=4096)]))
    >>> len(by_layer(one)), bool(by_layer(by_head(one)).bytes.sum() == one.bytes.sum())
    (32, True)
    """
    single = [
        replace(stage, layers=1, layer=n if stage.layer < 0 else stage.layer)
        for stage in split.stages
        for n in range(stage.layers)
    ]
    layers = np.array([stage.layers for stage in split.stages])
    first = np.cumsum(layers) - layers
    divided, number = _divide(split, layers[split.stage])
    divided = divided.take(range(len(divided)), units=divided.units * layers[divided.stage])
    return replace(divided, stage=first[divided.stage] + number, stages=tuple(single))


def by_head(split: Pieces) -> Pieces:
    """Split every piece into its KV heads; the latent cache of MLA serves all and stays whole.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.segments import Requests, State, pieces
    >>> one = pieces(State([Requests(model("llama-3-8b"), context=4096)]))
    >>> len(by_head(one)), float(by_head(one).reuse.max())
    (8, 4.0)
    """
    divided, number = _divide(split, split.heads)
    head = np.where(divided.heads > 1, number, divided.head)
    return replace(divided, head=head, heads=np.ones_like(head))


def by_part(split: Pieces) -> Pieces:
    """Split keys from values; in MLA they are one row and stay together.

    Queries go to the keys and results come from the values. If the two are apart, scores travel.
    """
    counts = np.where(split.part == "KV", 2, 1)
    divided, number = _divide(split, counts)
    doubled = np.repeat(counts, counts)
    keys, values = number == 0, number == doubled - 1
    part = np.where(doubled == 2, np.where(keys, "K", "V"), divided.part)
    return replace(
        divided,
        part=part,
        queries=divided.queries * doubled * keys,
        results=divided.results * doubled * values,
        scores=divided.scores * doubled,
        units=divided.units * doubled,
    )


def by_tokens(split: Pieces, *, sinks: int, recent: int) -> Pieces:
    """Split the cache of each request into its first tokens, its newest tokens and those between.

    Dense attention reads all of them in every step, so this changes no r: it only shows that there
    is nothing to gain, and what more queries and results cost. A prefix stays whole.

    Parameters
    ----------
    split : Pieces
        Pieces of any kind.
    sinks, recent : int
        First and newest tokens of a request; a window or a prefix may leave it without first ones.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.segments import Requests, State, pieces
    >>> one = pieces(State([Requests(model("llama-3-8b"), context=[2048, 8192])]))
    >>> by_tokens(one, sinks=4, recent=1024).bytes / one.bytes
    array([0.001, 0.799, 0.2])
    """
    whole(True, sinks=sinks, recent=recent)
    found = [part for i in range(len(split)) for part in _by_tokens(split.take([i]), sinks, recent)]
    return merge(concatenate(found))  # ranges of two natures can be alike


def _by_tokens(one: Pieces, sinks: int, recent: int) -> Iterator[Pieces]:
    """Split a single piece, unless it is a prefix or split already."""
    if one.tokens[0] != "all":
        yield one
        return
    starts, lengths = one.spans[0].T
    for name, tokens, newest in ranges(starts, lengths, (sinks, recent)):
        there = tokens > 0
        if there.any():
            factors = {
                "bytes touched flop renewed scores": tokens.sum() / lengths.sum(),
                "queries results units": there.mean(),
                "appended": newest.mean(),
                "dropped": tokens.sum() / lengths.sum(),
            }
            scaled = {
                column: getattr(one, column) * factor
                for columns, factor in factors.items()
                for column in columns.split()
            }
            spans = (np.stack([starts, tokens], axis=1)[there],)
            yield one.take([0], **scaled, tokens=np.array([name]), spans=spans)
