"""A cache in pieces: what each piece weighs, how often it is read, and what each byte is used for.

A `State` is who is being served: models, requests with their lengths, what they share, what they
verify. `pieces` splits its cache by nature: everything that changes the reuse r, or the bytes read
for each byte held, makes a piece of its own, and all cache of one nature is one piece, however many
requests it belongs to. `by_layer`, `by_part`, `by_head` and `by_tokens` split further along axes
that leave r as it is; they compose in any order, and none loses a byte.

>>> from kvlib import model
>>> agents = Requests(model("llama-3-8b"), context=[6000] * 64, prefix=4096)
>>> found = pieces(State([agents]))
>>> for name, size, r in zip(found.names, found.bytes / 2**30, found.reuse):
...     print(f"{name}: {size:.2f} GiB at r = {r:.0f}")
llama-3-8b GQA: 14.88 GiB at r = 4
llama-3-8b GQA prefix x64: 0.50 GiB at r = 256
"""

from kvlib.segments._axes import by_head, by_layer, by_part, by_tokens
from kvlib.segments._nature import pieces
from kvlib.segments._pieces import LABELS, Pieces, Stage, merge
from kvlib.segments._state import Prefix, Requests, Sparse, State

__all__ = [
    "LABELS", "Pieces", "Prefix", "Requests", "Sparse", "Stage", "State",
    "by_head", "by_layer", "by_part", "by_tokens", "merge", "pieces",
]  # fmt: skip
