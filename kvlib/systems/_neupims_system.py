"""A system of NeuPIMs, or one of its baselines: time of a decode step, memory, utilisation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, whole
from kvlib.footprint import Footprint, weight_bytes
from kvlib.network import transfer_time
from kvlib.operators import GemmShape
from kvlib.parallel import Parallel
from kvlib.phases import decode_step
from kvlib.quoted import Quoted
from kvlib.step import Step
from kvlib.systems._neupims_channels import Channels, Heads
from kvlib.systems._neupims_npu import Npu
from kvlib.systems._neupims_stages import Run, StageRun
from kvlib.units import MiB
from kvlib.workload import Attention, Transformer

__all__ = ["CORRECTIONS", "SCRATCHPAD", "Cut", "NeuPims"]

Cut = Literal["never", "always", "if faster"]

CORRECTIONS = {
    "vector-units": "vector units take time; the simulator reads lengths of vectors it moved away",
    "writes": "results written to memory delay what follows",
    "all-reduce": "devices that share a layer add up their results over a ring of links",
    "scratchpad": "products are cut to fit the 1 MiB that its configuration names, not 134 MB",
}
"""What the simulator leaves out; name in `NeuPims.corrected` what is to be put right."""

SCRATCHPAD = Quoted(
    1 * MiB, source="neupims2024repo", basis="paper", unit="MiB",
    note="spad_size; the program reads sram_size = 134,218 KB for both scratchpads instead",
)  # fmt: skip

_BEFORE = ("attention_norm", "qkv_projection")
_AFTER = (
    "output_projection", "attention_residual", "ffn_norm", "ffn_up", "ffn_gate",
    "ffn_activation", "ffn_down", "ffn_residual",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuPims:
    """Devices of one NPU with its memory that share a model.

    Parameters
    ----------
    name : str
        What a table calls it.
    npu : Npu
        Arrays, vector units and pins.
    channels : Channels
        Banks with units, and how requests are dealt out to them.
    attends : {"PIM", "NPU"}
        What computes attention.
    sub_batches : {"never", "always", "if faster"}
        Whether the batch is cut in two. Each half reads all weights, so that a small batch is
        faster whole; the simulator cuts from 256 requests on. The halves overlap if banks have two
        row buffers.
    exact_attention : bool
        Where the NPU attends, whether its arrays take the time that products with one token take
        there, or only reading the cache counts.
    tensor, pipeline : int
        Devices that share each layer, and groups of them that share the layers.
    link : Link, optional
        From one device to the next, one direction; needed only to count all-reduces.
    corrected : frozenset of str
        Keys of `CORRECTIONS`.

    Raises
    ------
    UnknownName
        If a correction or what attends is unknown.
    """

    name: str
    npu: Npu
    channels: Channels
    attends: Literal["PIM", "NPU"] = "PIM"
    sub_batches: Cut = "never"
    exact_attention: bool = True
    tensor: int = 4
    pipeline: int = 1
    link: Any = None
    corrected: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        whole(tensor=self.tensor, pipeline=self.pipeline)
        choose(self.attends, ["PIM", "NPU"], "what attends")
        choose(self.sub_batches, ["never", "always", "if faster"], "cut into sub-batches")
        for name in self.corrected:
            choose(name, CORRECTIONS, "correction")
        if "all-reduce" in self.corrected and self.link is None:
            raise ValueError(
                "link = None: an all-reduce needs one, and no source of NeuPIMs states any. "
                "Give what you assume, as in link=device('nvlink3').link()."
            )

    def correct(self, *names: str, link: Any = None) -> "NeuPims":
        """Return the system with some omissions of the simulator put right."""
        for name in names:
            choose(name, CORRECTIONS, "correction")
        npu = replace(
            self.npu,
            counts_vectors="vector-units" in names,
            counts_writes="writes" in names,
            scratchpad=float(SCRATCHPAD) if "scratchpad" in names else None,
        )
        return replace(self, npu=npu, corrected=frozenset(names), link=link or self.link)

    def decode(
        self,
        model: Transformer,
        requests: Sequence[int],
        *,
        places: Sequence[int] | None = None,
        layers: int | None = None,
    ) -> Run:
        """One decode step of a batch through the layers of one pipeline stage.

        Parameters
        ----------
        model : Transformer
            The model.
        requests : sequence of int
            Tokens in the cache of each request that one pipeline stage works on at a time.
        places : sequence of int, optional
            Channel of each request; dealt out if not given.
        layers : int, optional
            Layers; those of one pipeline stage if not given.

        Raises
        ------
        ValueError
            If there is no request, a length is not a whole number above zero, heads cannot be
            split, or the channels cannot hold the model's attention.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.neupims import neupims
        >>> run = neupims().decode(model("llama-3-70b"), [4096] * 64)
        >>> print(run.assumptions[0])
        8 query heads share a KV head, which NeuPIMs does not know: each reads it again.
        """
        batch = list(requests)
        if not batch:
            raise ValueError("0 requests: a step needs at least one. Give their cache lengths.")
        whole(requests=np.asarray(batch))
        heads = self.heads(model)
        notes = self._assumed(heads)
        if places is not None and len(places) != len(batch):
            raise ValueError(f"{len(places)} places for {len(batch)} requests: give each one.")
        if places is not None and not 0 <= min(places) <= max(places) < self.channels.count:
            raise ValueError(
                f"places run from {min(places)} to {max(places)}, but channels are numbered "
                f"0 to {self.channels.count - 1}."
            )
        where = self.channels.deal(batch, heads) if places is None else list(places)
        depth = -(-len(model.layers) // self.pipeline) if layers is None else layers
        whole(layers=depth)
        halves = _halves(where, self.channels.count)
        whole_batch = list(range(len(batch)))
        cuts = [*halves, whole_batch] if all(halves) else [whole_batch] * 3
        one, two, all_of_it = self._parts(model, batch, where, heads, cuts)
        together = self._whole(all_of_it, depth, notes)
        if self.sub_batches == "never" or not all(halves):
            return together
        run = self._cut(one, two, self.channels.stalls(heads), depth, notes)
        if self.sub_batches == "always":
            return run
        return min(run, together, key=lambda each: each.time)

    def _cut(
        self,
        one: "_Parts",
        two: "_Parts",
        stalls: tuple[float, float],
        depth: int,
        notes: tuple[str, ...],
    ) -> Run:
        """Two sub-batches, one stage apart."""
        together = self.channels.pim.dual_row_buffers

        def stage(name: str, npu: dict[str, float], pim: dict[str, float], on: _Parts) -> StageRun:
            return StageRun(name, npu, pim, stalls, together, on.posted, on.requests)

        return Run(
            first=(
                stage("A", one.before, {}, one),
                stage("B", two.before, one.attention, two),
            ),
            layer=(
                stage("C", one.after | one.before, two.attention, one),
                stage("D", two.after | two.before, one.attention, two),
            ),
            last=(
                stage("E", one.after, two.attention, one),
                stage("F", two.after, {}, two),
            ),
            layers=depth,
            tokens=one.requests + two.requests,
            assumptions=notes,
        )

    def _whole(self, one: "_Parts", depth: int, notes: tuple[str, ...]) -> Run:
        """A batch that is not cut."""
        if self.attends == "NPU":
            stages: tuple[StageRun, ...] = (
                StageRun("A", one.before | one.attention | one.after, {}, tokens=one.requests),
            )
        else:
            stages = (
                StageRun("A", one.before, {}, tokens=one.requests),
                StageRun("B", {}, one.attention),
                StageRun("E", one.after, {}, tokens=one.requests),
            )
        return Run((), stages, stages, depth, one.requests, notes)

    def heads(self, model: Transformer) -> Heads:
        """Heads of one device.

        Raises
        ------
        ValueError
            If heads cannot be split, or the channels cannot hold the model's attention.
        """
        attention = model.layers[0].attention
        if not isinstance(attention, Attention):
            raise ValueError(
                f"{model.name!r} keeps one compressed row a token for all heads (MLA), but NeuPIMs "
                f"lays keys and values out by head. Use a model with MHA or GQA."
            )
        parallel = Parallel(tensor=self.tensor)
        kv = int(parallel.kv_heads(heads=attention.heads, kv_heads=attention.kv_heads))
        return Heads(
            kv=kv, group=int(parallel.heads(attention.heads)) // kv, dim=attention.head_dim
        )

    def _assumed(self, heads: Heads) -> tuple[str, ...]:
        """What must be assumed to attend to these heads."""
        if heads.group == 1 or self.attends == "NPU":
            return ()
        return (
            f"{heads.group} query heads share a KV head, which NeuPIMs does not know: "
            f"each reads it again.",
        )

    def _parts(
        self,
        model: Transformer,
        batch: list[int],
        where: list[int],
        heads: Heads,
        cuts: Sequence[list[int]],
    ) -> "list[_Parts]":
        """Times of a layer's operators for some parts of a batch [s]."""
        sizes = np.array([len(cut) for cut in cuts])
        step = _layer(model, tuple(sizes.tolist()), self.tensor)
        size = step.element_bytes.activations
        times = {
            each.name: np.broadcast_to(self.npu.operator_time(each, size), sizes.shape)
            for each in step.operators
            if each.name in _BEFORE or each.name in _AFTER
        }
        posted = {
            each.name: np.broadcast_to(self.npu.posted_time(each, size), sizes.shape)
            for each in step.operators
            if each.name in times
        }
        for message in step.collectives if "all-reduce" in self.corrected else ():
            ranks = float(message.ranks)
            part = transfer_time(self.link, message.bytes / ranks)
            times[message.after] = times[message.after] + 2 * (ranks - 1) * part
        found = []
        for number, cut in enumerate(cuts):
            lengths, places = ([these[i] for i in cut] for these in (batch, where))
            if self.attends == "NPU":
                attention = {"attention": self._on_arrays(np.asarray(lengths), heads, size)}
            else:
                scores, outputs = self.channels.times(lengths, heads, places)
                attention = {"scores": scores, "outputs": outputs}
            label = f" {number + 1}" if number < 2 else " all"
            before, after = (
                {name + label: float(times[name][number]) for name in names if name in times}
                for names in (_BEFORE, _AFTER)
            )
            named = {name + label: time for name, time in attention.items()}
            drains = {name + label: float(part[number]) for name, part in posted.items()}
            found.append(_Parts(len(cut), before, named, after, drains))
        return found

    def _on_arrays(self, batch: Any, heads: Heads, size: float) -> float:
        """Attention on the NPU: reading the cache, and one token against it in the arrays [s].

        A head's output sums over all tokens, 128 of them at a time in the arrays, and for each 128
        the probabilities are loaded anew, in as many clocks.
        """
        reading = float(np.sum(batch)) * 2 * heads.kv * heads.dim * size / self.npu.bandwidth
        if not self.exact_attention:
            return reading
        scores = self.npu.block_time(GemmShape(heads.group, batch, heads.dim))
        outputs = self.npu.block_time(GemmShape(heads.group, heads.dim, batch))
        return max(reading, heads.kv * float(np.sum(scores + outputs)))

    def operator_bytes(self, model: Transformer, tokens: int) -> dict[str, float]:
        """Bytes that each of the NPU's operators of a layer moves, as the simulator counts [B]."""
        step = _layer(model, (tokens,), self.tensor)
        size = step.element_bytes.activations
        return {
            each.name: float(np.sum(self.npu.operator_bytes(each, size)))
            for each in step.operators
            if each.name in _BEFORE or each.name in _AFTER
        }

    def memory(self, model: Transformer, requests: Sequence[int], *, padded: bool = True) -> Any:
        """Compare what one device must hold with what it has.

        Parameters
        ----------
        model : Transformer
            The model.
        requests : sequence of int
            Cache length of every request of the system, all pipeline stages together.
        padded : bool
            Whether keys are kept in whole tiles of 32 tokens and values in whole tiles of 512, as
            the units need them, or as tightly as an NPU may.

        Returns
        -------
        Footprint
            With `fits` and `shortfall`; it never raises for a batch that is too large.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.neupims import neupims
        >>> from kvlib.units import GB
        >>> state = neupims().memory(model("gpt-3-13b"), [376] * 512)
        >>> print(f"{bool(state.fits)}: {state.shortfall / GB:.1f} GB short")
        False: 23.1 GB short
        """
        heads = self.heads(model)
        parallel = Parallel(tensor=self.tensor, pipeline=self.pipeline)
        stages = range(self.pipeline)
        weights = max(weight_bytes(model, parallel=parallel, stage=each) for each in stages)
        depth = -(-len(model.layers) // self.pipeline)
        cache = depth * float(np.sum(self._request_bytes(np.asarray(requests), heads, padded)))
        return Footprint(weights, cache, 0.0, float(self.channels.pim.capacity))

    def largest_batch(self, model: Transformer, length: int, *, padded: bool = True) -> int:
        """Requests of one length that fit; 0 if not even the weights do.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.neupims import neupims
        >>> gpt = model("gpt-3-13b")
        >>> neupims().largest_batch(gpt, 376), neupims().largest_batch(gpt, 376, padded=False)
        (280, 362)
        """
        empty = self.memory(model, [length], padded=padded)
        free = empty.capacity - empty.weights
        return max(0, int(free // empty.cache))

    def _request_bytes(self, requests: Any, heads: Heads, padded: bool) -> Any:
        whole(requests=requests)
        if padded:
            return self.channels.bytes(requests, heads)
        return requests * 2.0 * heads.kv * heads.dim * 2

    def utilisation(self, model: Transformer, requests: Sequence[int]) -> dict[str, float]:
        """Fraction of a step in which each resource is busy, and in which it multiplies.

        ``"NPU"`` and ``"PIM"`` have something to do, whether or not they wait for memory;
        ``"arrays"`` and ``"units"`` would at their peak.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.neupims import neupims
        >>> used = neupims().utilisation(model("gpt-3-6.7b"), [376] * 256)
        >>> {name: f"{part:.0%}" for name, part in used.items()}
        {'NPU': '100%', 'PIM': '42%', 'arrays': '36%', 'units': '10%'}
        """
        run = self.decode(model, requests)
        heads = self.heads(model)
        step = _layer(model, (len(requests),), self.tensor)
        busy = {"NPU": 0.0, "PIM": 0.0} | run.plan().utilisation
        found = busy | {"arrays": run.layers * float(self.npu.busy_arrays(step)[0]) / run.time}
        if self.attends == "PIM":
            multiplying = self.channels.multiplying(requests, heads)
            found["units"] = run.layers * multiplying / run.time
        return found


@dataclass(frozen=True)
class _Parts:
    """Times of one sub-batch by operator: before attention, attention, after it [s]."""

    requests: int
    before: dict[str, float]
    attention: dict[str, float]
    after: dict[str, float]
    posted: dict[str, float]


@lru_cache(maxsize=64)
def _layer(model: Transformer, sizes: tuple[int, ...], tensor: int) -> Step:
    """Operators of a decode step's first layer, attention of one token apart, for some batches."""
    return decode_step(
        model, batch=np.array(sizes), context=1, parallel=Parallel(tensor=tensor)
    ).layer(0)


def _halves(where: Sequence[int], channels: int) -> tuple[list[int], list[int]]:
    """Cut a batch in two: of each channel's requests half, an odd one in turn."""
    first: list[int] = []
    second: list[int] = []
    larger = True
    queues: list[list[int]] = [[] for _ in range(channels)]
    for request, place in enumerate(where):
        queues[place].append(request)
    for here in queues:
        cut = len(here) // 2
        if len(here) % 2:
            cut, larger = cut + larger, not larger
        first += here[:cut]
        second += here[cut:]
    return first, second
