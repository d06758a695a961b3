"""Time of measured attention kernels on a GPU: decode steps and causal prefill.

Both start from the roofline and add what keeps a real kernel above it, each as a named constant: a
launch floor, the cost of splitting the cache over cores, bytes in flight, the part of the cache
still in the last-level cache, whole tiles, and the softmax beside the matrix products.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import fraction, positive, whole
from kvlib.hardware import Device
from kvlib.precision import itemsize

__all__ = [
    "DecodeAttentionKernel",
    "PrefillAttentionKernel",
    "decode_kernel_time",
    "prefill_kernel_time",
]


@dataclass(frozen=True, kw_only=True)
class DecodeAttentionKernel:
    """One measured decode-attention kernel on one architecture.

    Parameters
    ----------
    kernel_floor : float
        Launch and drain of the kernel with nothing to read [s].
    merge_latency : float
        Merging partial results, per doubling of the splits of one cache [s].
    block_latency : float
        Prologue and epilogue of one thread block; blocks on one core pay it in turn [s].
    bandwidth_fraction : float
        Part of the datasheet bandwidth that a saturating read reaches, in (0, 1].
    cache_share : float
        Part of the last-level cache that holds KV from one call to the next.
    block_rate : float
        Cache elements that one thread block streams and converts per second [1/s].
    blocks_per_core : float
        Thread blocks of this kernel that stream at once on one core.
    tokens_per_split : float
        Fewest tokens for which the kernel opens another split.
    query_rows : float
        Query heads of a group that share one read of K and V; 1 where each reads for itself.
    splits_ungrouped : float
        1 if the kernel splits the cache when every query head has its own KV head, else 0.
    matrix_fraction : float
        Part of the peak matrix rate inside the two products, in (0, 1]; 1 where no measured row
        waits for them.
    """

    kernel_floor: float
    merge_latency: float
    block_latency: float
    bandwidth_fraction: float
    cache_share: float
    block_rate: float
    blocks_per_core: float
    tokens_per_split: float
    query_rows: float
    splits_ungrouped: float
    matrix_fraction: float = 1.0

    def __post_init__(self) -> None:
        fraction(bandwidth_fraction=self.bandwidth_fraction, matrix_fraction=self.matrix_fraction)
        positive(block_rate=self.block_rate, query_rows=self.query_rows)
        positive(blocks_per_core=self.blocks_per_core, tokens_per_split=self.tokens_per_split)


@dataclass(frozen=True, kw_only=True)
class PrefillAttentionKernel:
    """One measured causal prefill-attention kernel on one architecture.

    Parameters
    ----------
    kernel_floor : float
        Launch and drain of the kernel and of the cache append before it [s].
    block_latency : float
        Prologue and epilogue of one query tile; tiles on one core pay it in turn [s].
    matrix_fraction : float
        Part of the peak matrix rate inside the two products, in (0, 1].
    score_rate : float
        Softmax scores per second and core that the products do not hide [1/s].
    bandwidth_fraction : float
        Part of the datasheet bandwidth for queries, outputs and the cache append, in (0, 1].
    query_rows, key_rows : float
        Rows of a query tile and of a key tile: work comes in whole tiles.
    tail : float
        Part of the longest tile by which the last core finishes late: 0 where tiles are handed out
        longest first, 1/2 on average where they are handed out in order.
    packs_group : float
        1 if the query heads of a group fill one tile together, else 0; a prompt of one token is
        packed in any case.
    """

    kernel_floor: float
    block_latency: float
    matrix_fraction: float
    score_rate: float
    bandwidth_fraction: float
    query_rows: float
    key_rows: float
    tail: float
    packs_group: float

    def __post_init__(self) -> None:
        fraction(bandwidth_fraction=self.bandwidth_fraction, matrix_fraction=self.matrix_fraction)
        positive(score_rate=self.score_rate, query_rows=self.query_rows, key_rows=self.key_rows)


def decode_kernel_time(
    device: Device,
    kernel: DecodeAttentionKernel,
    *,
    batch: Any,
    heads: Any,
    kv_heads: Any,
    head_dim: Any,
    value_dim: Any = None,
    values_in_keys: bool = False,
    context: Any,
    precision: str,
    kv_precision: str,
    warm: bool,
) -> Any:
    r"""Time of one decode-attention call: one layer, one query token per sequence [s].

    With the group :math:`g = h/h_{kv}`, :math:`r = \lceil g/\text{query rows} \rceil` reads of each
    cached row, :math:`u = b\,h_{kv}\,r` caches to walk, C cores, keys of :math:`d_k` elements
    (`head_dim`) and values of :math:`d_v` (`value_dim`, the same unless given), of which
    :math:`d = d_k + d_v` are cached, or :math:`d_k` if values are a part of the keys, as in MLA,

    .. math::

        s &= \max(1, \min(C/u,\; L/\text{tokens per split})), \qquad x = u s / C \\
        V &= b\,h_{kv}\,L\,d\,e, \qquad V_\text{miss} = V^3 / (V^2 + (\alpha S)^2) \\
        t_\text{memory} &= (V_\text{miss} + Q) / (\phi B), \qquad
        t_\text{flight} = r V / (e\,C \min(x, n)\,\rho) \\
        t_\text{matrix} &= 2 u m L\,(d_k + d_v) / (\mu P) \\
        t &= t_0 + \tau \log_2 s + \beta \max(1, x)
             + \max\!\big(\sqrt{t_\text{memory}^2 + t_\text{flight}^2},\; t_\text{matrix}\big)

    :math:`t_\text{flight}` is Little's law: n blocks per core, each streaming :math:`\rho` elements
    per second. :math:`V_\text{miss}` leaves out what a repeated call finds in a last-level cache of
    S bytes (only if `warm`). :math:`t_\text{matrix}` counts whole tiles of m query rows at a part
    :math:`\mu` of the peak P; of the measured rows, only those of MLA reach it.
    """
    whole(batch=batch, heads=heads, kv_heads=kv_heads, head_dim=head_dim, context=context)
    _divides(heads, kv_heads)
    cores, peak = float(device.compute().units), float(device.peak(precision))
    cached, element = itemsize(kv_precision), itemsize(precision)
    last_level = float(device.memory("l2").capacity) if warm else 0.0
    group = heads / kv_heads
    reads = np.ceil(group / kernel.query_rows)
    walks = batch * kv_heads * reads
    splits = np.maximum(1.0, np.minimum(cores / walks, context / kernel.tokens_per_split))
    splits = splits + (1.0 - splits) * (group == 1) * (1.0 - kernel.splits_ungrouped)
    resident = walks * splits / cores
    values = head_dim if value_dim is None else value_dim
    products = head_dim + values
    kv = 1.0 * batch * kv_heads * context * (head_dim if values_in_keys else products) * cached
    queries = 1.0 * batch * heads * products * element
    missed = kv * kv**2 / (kv**2 + (kernel.cache_share * last_level) ** 2)
    memory = (missed + queries) / (kernel.bandwidth_fraction * device.memory().bandwidth)
    streams = cores * np.minimum(resident, kernel.blocks_per_core)
    flight = reads * kv / (cached * streams * kernel.block_rate)
    tile_rows = kernel.query_rows if kernel.query_rows > 1 else 0.0  # 0: no matrix units
    matrix = 2.0 * walks * tile_rows * context * products / (kernel.matrix_fraction * peak)
    waiting = kernel.merge_latency * np.log2(splits) + kernel.block_latency * np.maximum(
        1, resident
    )
    return kernel.kernel_floor + waiting + np.maximum(np.hypot(memory, flight), matrix)


def prefill_kernel_time(
    device: Device,
    kernel: PrefillAttentionKernel,
    *,
    batch: Any,
    heads: Any,
    kv_heads: Any,
    head_dim: Any,
    prompt: Any,
    precision: str,
) -> Any:
    r"""Time of causal attention of whole prompts in one layer, cache append included [s].

    With p query heads packed in a tile (the group, or 1), query tiles of M rows, key tiles of N,

    .. math::

        T &= \frac{b\,h}{p} \left\lceil \frac{S p}{M} \right\rceil, \qquad
        \hat S = N \lceil S/N \rceil, \qquad
        c = \frac{4 d}{\mu P / C} + \frac{1}{\sigma} \\
        t &= t_0 + \beta \max(1, T/C)
             + \max\!\Big(\frac{T}{C}\,M\,\frac{\hat S + N}{2}\,c + \kappa M \hat S\,c,
             \; M \hat S\,c\Big)
             + \frac{b\,S\,d\,e\,(2 h + 4 h_{kv})}{\phi B}

    c is the time of one query-key score on one of C cores: two products of d multiply-adds at a
    part :math:`\mu` of the peak P, and the part of the softmax they do not hide. The second branch
    of the maximum is the longest tile, which no other core can shorten; :math:`\kappa` is the tail
    of a list of tiles (:cite:t:`graham1969timing`: at most 1; 0 in a perfect order). Bytes are
    queries and outputs, and K and V read and written by the append to the cache.
    """
    whole(batch=batch, heads=heads, kv_heads=kv_heads, head_dim=head_dim, prompt=prompt)
    _divides(heads, kv_heads)
    cores, peak = float(device.compute().units), float(device.peak(precision))
    group = heads / kv_heads
    packed = group if kernel.packs_group else 1.0 + (group - 1.0) * (prompt == 1)
    tiles = batch * heads / packed * np.ceil(prompt * packed / kernel.query_rows)
    keys = kernel.key_rows * np.ceil(prompt / kernel.key_rows)
    score = 4.0 * head_dim * cores / (kernel.matrix_fraction * peak) + 1.0 / kernel.score_rate
    shared = tiles / cores * kernel.query_rows * (keys + kernel.key_rows) / 2.0 * score
    longest = kernel.query_rows * keys * score
    moved = batch * prompt * head_dim * itemsize(precision) * (2.0 * heads + 4.0 * kv_heads)
    return (
        kernel.kernel_floor
        + kernel.block_latency * np.maximum(1.0, tiles / cores)
        + np.maximum(shared + kernel.tail * longest, longest)
        + moved / (kernel.bandwidth_fraction * device.memory().bandwidth)
    )


def _divides(heads: Any, kv_heads: Any) -> None:
    if np.any(np.asarray(heads) % np.asarray(kv_heads) != 0):
        raise ValueError(
            f"heads = {heads!r} must be a multiple of kv_heads = {kv_heads!r}: "
            f"every KV head serves the same number of query heads."
        )
