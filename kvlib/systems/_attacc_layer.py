"""One layer on a box of AttAcc: what its parts take alone, and how they overlap."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.schedule import Plan, Stage, interleave, parallel, pipeline, serial
from kvlib.systems._cost import added

__all__ = ["LayerWork"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWork:
    """Times of the parts of one layer, each as if alone [s].

    Parameters
    ----------
    qkv, projection, feed_forward : float or array
        Matrices on the GPU; of the feed-forward network its part, if the units take another.
    first_norm, elementwise : float or array
        The norm before attention, and all other norms and activations.
    attention, softmax : float or array
        On the GPU, or on what is beside it.
    queries, results : float or array
        Transfers to what is beside the GPU, and back.
    all_reduces : tuple of float or array
        Messages after attention and after the feed-forward network.
    heads : float
        KV heads of one GPU, which can follow each other through a pipeline.
    qkv_share : float
        Part of the weights of `qkv` and `projection` that `qkv` has.
    beside : str
        What attends beside the GPU; empty if nothing.
    overlaps, pipelined, coprocessing, counts_softmax : bool
        Whether transfers overlap with attention; projections too; whether the units work on the
        feed-forward network; and whether their softmax takes time.
    """

    qkv: Any
    projection: Any
    feed_forward: Any
    first_norm: Any
    elementwise: Any
    attention: Any
    softmax: Any
    queries: Any
    results: Any
    all_reduces: tuple[Any, ...]
    heads: float
    qkv_share: float
    beside: str
    overlaps: bool
    pipelined: bool
    coprocessing: bool
    counts_softmax: bool

    def times(self) -> dict[str, Any]:
        """Return what each part adds to the layer; they add up to its time [s]."""
        parts = {
            "qkv": self.qkv,
            "attention": self.attention,
            "softmax": self.softmax,
            "projection": self.projection,
            "feed-forward": self.feed_forward,
            "norms and activations": self.first_norm + self.elementwise,
            "all-reduce": added(self.all_reduces),
            "link": self.queries + self.results,
        }
        return parts | self._shown() if self.overlaps else parts

    def _shown(self) -> dict[str, Any]:
        r"""Return what of the overlapping parts shows.

        Heads are items of a pipeline whose stages are projections, transfers and attention, so

        .. math:: T = \max_i t_i + \frac{1}{n} \sum_{\text{others}} t_i

        Attention shows in full, the shorter one of the other two with one head of n, and the longer
        one with what remains. The simulator hides work behind the softmax of the units too, but
        leaves the softmax itself out of the sum.
        """
        heads, link = self.heads, self.queries + self.results
        matrices = self.qkv + self.projection if self.pipelined else 0.0
        hides = self.attention if self.counts_softmax else self.attention + self.softmax
        softmax = self.softmax / heads if self.counts_softmax else 0.0 * self.softmax
        stages = [
            Stage("projections", "GPU", matrices / heads),
            Stage("transfers", "link", link / heads),
            Stage("attention", self.beside, hides / heads),
        ]
        rest = pipeline(stages, heads).makespan - hides
        longer = np.maximum(matrices, link) == matrices
        shown = {
            "softmax": softmax,
            "link": np.where(longer, link / heads, rest - matrices / heads),
        }
        if not self.pipelined:
            return shown
        paces = matrices >= np.maximum(link, hides)  # else one head of them shows
        hidden = matrices - rest + link / heads
        of_qkv = np.clip(self.qkv_share * hidden, hidden - self.projection, self.qkv)
        for name, time, out in (
            ("qkv", self.qkv, of_qkv),
            ("projection", self.projection, hidden - of_qkv),
        ):
            shown[name] = np.where(paces, time - out, time / heads)
        return shown

    def plan(self) -> Plan:
        """Return the schedule of the layer, with every head on its own."""
        heads = int(self.heads)
        qkv = Stage("QKV", "GPU", self.qkv)
        projection = Stage("projection", "GPU", self.projection)
        one_head = [
            Stage("queries", "link", self.queries / heads),
            Stage("attention", self.beside, self.attention / heads),
            Stage("results", "link", self.results / heads),
        ]
        if self.pipelined:
            first, last = (Stage(p.name, "GPU", p.time / heads) for p in (qkv, projection))
            middle = [interleave(*[[first, *one_head, last]] * heads)]
        elif self.overlaps:
            middle = [qkv, interleave(*[one_head] * heads), projection]
        else:
            alone = Stage("attention", self.beside or "GPU", self.attention + self.softmax)
            sent = [Stage("transfers", "link", self.queries + self.results)] if self.beside else []
            middle = [qkv, *sent, alone, projection]
        matrices: Plan = Stage("feed-forward", "GPU", self.feed_forward)
        if self.coprocessing:
            matrices = parallel(matrices, Stage("feed-forward", self.beside, self.feed_forward))
        reduces = [Stage("all-reduce", "NVLink", time) for time in self.all_reduces]
        return serial(
            Stage("norm", "GPU", self.first_norm), *middle, *reduces[:1],
            Stage("norm", "GPU", self.elementwise), matrices, *reduces[1:],
        )  # fmt: skip
