"""What attends beside the GPUs of AttAcc: units in HBM3 stacks, or the processors of the host.

Both take the part of one GPU: its share of the heads, all sequences.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.attention import AttentionShape
from kvlib.nearmemory import BankPim, gemv
from kvlib.nearmemory import attention as attention_in_banks
from kvlib.operators import GemmShape
from kvlib.quoted import Quoted
from kvlib.systems._attacc_gpu import BANDWIDTH, COMPUTE, OPERATION_ENERGY
from kvlib.units import pJ

__all__ = ["Attended", "Host", "Units"]

_SOFTMAX_FLOP = 5  # operations a score, as the simulator counts them

INTERPOSER, ON_STACK = (
    Quoted(value * pJ, source="attacc2024repo", basis="paper", unit="pJ/B", note=note)
    for value, note in (
        (0.3, "printed as pJ/bit, applied to bytes"),
        (0.5 + 1.23 + 1.01, "TSV, global and bank-group multiplexers; the same"),
    )
)


@dataclass(frozen=True)
class Attended:
    """Attention of one layer beside one GPU: times [s] and energies [J]."""

    time: Any
    softmax: Any
    memory: Any
    chip: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """AttAcc's units in the stacks beside one GPU.

    Parameters
    ----------
    pim : BankPim
        The units and their banks.
    stacks : int
        HBM3 stacks; heads are dealt out to them.
    pins : float
        Bandwidth of all stacks' pins, the pace of the softmax unit [B/s].
    scale : float
        Nominal bandwidth of the units over that of the pins.
    link : float
        Bandwidth between GPU and stacks, one direction [B/s].
    link_energy : float
        Energy of a byte on it [J/B].
    buffer_energy : float
        Energy of a byte in the buffer of the softmax unit [J/B].
    exact : bool
        Whether energy counts all bits and both products of the heads there are; the simulator
        multiplies energies of a bit with bytes, leaves out one product, and has heads too many.
    """

    pim: BankPim
    stacks: int
    pins: float
    scale: float
    link: float
    link_energy: float
    buffer_energy: float
    exact: bool = False

    @property
    def capacity(self) -> float:
        """Bytes in the stacks [B]."""
        return self.pim.capacity

    @property
    def name(self) -> str:
        """What a chart calls them."""
        return "AttAcc"

    def attend(self, shape: AttentionShape, precision: str, size: float) -> Attended:
        """Attention of one decode step in one layer.

        A unit that multiplies one query at a time reads a KV head once for each query that shares
        it.
        """
        caches, rows = shape.batch * shape.kv_heads, shape.rows
        group = shape.heads / shape.kv_heads * shape.query_tokens
        task: dict[str, Any] = {
            "head_dim": shape.key_dim, "precision": precision, "queries": group,
        }  # fmt: skip
        time = attention_in_banks(self.pim, rows, heads=caches, **task).time
        one = attention_in_banks(self.pim.replace(channels=1), rows, heads=1, **task)
        heads, reading = (caches, caches) if self.exact else self._dealt(caches)
        read = reading * one.macs * self.pim.units * self.pim.column
        moved = heads * (one.writes + one.reads) * self.pim.column
        queries = heads * group * shape.key_dim * size
        scores = rows * caches * group
        moving = (queries * INTERPOSER + moved * ON_STACK) * (8 if self.exact else 1)
        products = 2 if self.exact else 1
        flop = scores * (2 * shape.key_dim * products + _SOFTMAX_FLOP)
        buffered = 2 * scores * size
        return Attended(
            time=time,
            softmax=np.maximum(
                _SOFTMAX_FLOP * scores / (self.pins * 2 / size), buffered / self.pins
            ),
            memory=read * (self.pim.energy or 0.0) + moving + buffered * self.buffer_energy,
            chip=flop * OPERATION_ENERGY,
        )

    def _dealt(self, caches: Any) -> tuple[Any, Any]:
        """Heads, and heads whose caches are read, as the simulator's traces count them.

        All stacks count as full as the fullest. In an even last round, channels without a head
        still read values.
        """
        heads = np.ceil(caches / self.stacks)
        channels = self.pim.channels / self.stacks
        rounds = np.ceil(heads / channels)
        idle = (rounds * channels - heads) * (rounds % 2 == 0)
        return heads * self.stacks, (heads + idle / 2) * self.stacks

    def product_time(self, shape: GemmShape, precision: str) -> Any:
        """Time in which the units alone would do a product, row by row [s]."""
        once = gemv(self.pim, shape.n, shape.k, precision=precision).time
        return once * shape.m * shape.copies


@dataclass(frozen=True, kw_only=True, eq=False)
class Host:
    """Processors of the host, which attend to caches in their own memory.

    Parameters
    ----------
    bandwidth, peak : float
        Of one socket [B/s], [flop/s].
    capacity : float
        Bytes in all sockets [B].
    link, link_energy : float
        Bandwidth from a GPU, one direction [B/s]; the simulator counts no energy of it [J/B].
    share : float
        Sockets that stand behind one GPU.
    """

    bandwidth: float
    peak: float
    capacity: float
    link: float
    link_energy: float = 0.0
    share: float = 1.0

    @property
    def name(self) -> str:
        """What a chart calls them."""
        return "CPU"

    def attend(self, shape: AttentionShape, precision: str, size: float) -> Attended:
        """Attention of one decode step in one layer; the simulator knows no energy of a CPU."""
        caches = shape.batch * shape.kv_heads
        group = shape.heads / shape.kv_heads * shape.query_tokens
        rows, width = shape.rows, shape.key_dim
        scores = rows * caches * group
        moved = 2 * caches * (rows * width + group * (rows + width)) * size
        streaming = self.bandwidth * BANDWIDTH * self.share
        rate = self.peak * COMPUTE * self.share * 2 / size
        return Attended(
            time=np.maximum(moved / streaming, 4 * scores * width / rate),
            softmax=np.maximum(2 * scores * size / streaming, _SOFTMAX_FLOP * scores / rate),
            memory=0.0,
            chip=0.0,
        )
