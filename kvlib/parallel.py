"""Splitting a model over ranks, and what the ranks then have to tell each other.

Tensor parallelism gives each rank some heads and some columns of every matrix, pipeline parallelism
some layers, expert parallelism some experts. A `Collective` is plain data: `network` turns it into
seconds.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kvlib.checks import whole
from kvlib.operators import plain

__all__ = ["Collective", "Parallel", "shard"]


@dataclass(frozen=True)
class Parallel:
    """Over how many ranks a model is split, and how.

    Parameters
    ----------
    tensor : int or array
        Ranks that share each layer. KV heads fewer than these ranks are replicated.
    pipeline : int
        Stages, each with a run of consecutive layers.
    expert : int or array
        Ranks that share the experts, whole experts each. With 1, every expert is split over the
        `tensor` ranks like a dense network. Above `tensor` it must be a multiple of it: then
        `expert` / `tensor` groups attend to a batch each and send their tokens to one another.

    Raises
    ------
    ValueError
        If a number is not a whole number above zero, or `expert` is neither 1 nor a multiple of
        `tensor`.

    Examples
    --------
    >>> Parallel(tensor=8).kv_heads(heads=64, kv_heads=4)
    1.0
    >>> Parallel(tensor=4, expert=6)
    Traceback (most recent call last):
    ...
    ValueError: expert = 6 must be 1 or a multiple of tensor = 4: each of the expert / tensor...
    """

    tensor: Any = 1
    pipeline: int = 1
    expert: Any = 1

    def __post_init__(self) -> None:
        whole(tensor=self.tensor, pipeline=self.pipeline, expert=self.expert)
        if np.ndim(self.pipeline):
            raise TypeError(
                f"pipeline = {self.pipeline!r} must be one number, for stages are made of whole "
                f"layers. Compare several by a call for each."
            )
        if np.any((self.expert > 1) & (self.expert % self.tensor != 0)):
            raise ValueError(
                f"expert = {self.expert} must be 1 or a multiple of tensor = {self.tensor}: "
                f"each of the expert / tensor groups attends to its own batch."
            )

    @property
    def groups(self) -> Any:
        """Batches whose tokens meet at the experts: expert / tensor, at least one."""
        return plain(np.maximum(self.expert / self.tensor, 1.0))

    def heads(self, heads: int) -> Any:
        """Query heads of one rank."""
        return shard(heads, self.tensor, "heads")

    def kv_heads(self, *, heads: int, kv_heads: int) -> Any:
        """KV heads of one rank: its share, or one of them where there are fewer than ranks.

        A replicated KV head takes memory on each of its ranks and serves fewer query heads there,
        so that splitting further lowers the reuse.

        Raises
        ------
        ValueError
            If `tensor` does not divide the heads, or neither divides nor is divided by `kv_heads`.
        """
        self.heads(heads)
        if np.any((kv_heads % self.tensor != 0) & (self.tensor % kv_heads != 0)):
            raise ValueError(
                f"kv_heads = {kv_heads} cannot be split over tensor = {self.tensor} ranks: "
                f"one must divide the other. Choose a divisor or a multiple of {kv_heads}."
            )
        return plain(np.maximum(kv_heads / self.tensor, 1.0))

    def stages(self, layers: int) -> tuple[range, ...]:
        """Layers of each pipeline stage, as even as can be; the first stages take the remainder.

        Raises
        ------
        ValueError
            If there are more stages than layers.

        Examples
        --------
        >>> Parallel(pipeline=3).stages(80)
        (range(0, 27), range(27, 54), range(54, 80))
        """
        if self.pipeline > layers:
            raise ValueError(
                f"pipeline = {self.pipeline} stages, but only {layers} layers: "
                f"choose at most {layers}."
            )
        each, more = divmod(layers, self.pipeline)
        edges = [stage * each + min(stage, more) for stage in range(self.pipeline + 1)]
        return tuple(map(range, edges[:-1], edges[1:]))


@dataclass(frozen=True)
class Collective:
    """A message that ranks exchange after an operator.

    Parameters
    ----------
    kind : {"all_reduce", "all_gather", "all_to_all", "send"}
        What is exchanged. `send` passes hidden states from one pipeline stage to the next.
    ranks : int or array
        Ranks that take part.
    bytes : float or array
        Bytes that each rank puts in, its send buffer [B].
    after : str
        Name of the operator whose result it is.
    layers : tuple of int
        Layers after which it happens, once in each; empty outside the layers.
    """

    kind: Literal["all_reduce", "all_gather", "all_to_all", "send"]
    ranks: Any
    bytes: Any
    after: str
    layers: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Times it happens in one pass through the model."""
        return len(self.layers) or 1


def shard(count: int, ranks: Any, what: str) -> Any:
    """Return the share of one rank.

    Raises
    ------
    ValueError
        If `ranks` does not divide `count`.

    Examples
    --------
    >>> shard(64, 8, "heads")
    8.0
    >>> shard(71, 8, "heads")
    Traceback (most recent call last):
    ...
    ValueError: heads = 71 cannot be split over 8 ranks: choose a number of ranks that divides 71.
    """
    left_over = np.mod(count, ranks) != 0
    if np.any(left_over):
        refused = np.asarray(ranks)[np.asarray(left_over)].flat[0] if np.ndim(ranks) else ranks
        raise ValueError(
            f"{what} = {count} cannot be split over {refused} ranks: "
            f"choose a number of ranks that divides {count}."
        )
    return count / ranks
