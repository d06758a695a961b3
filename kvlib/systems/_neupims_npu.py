"""The NPU of NeuPIMs: systolic arrays, vector units, and what its memory delivers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.hardware import Device, Timing
from kvlib.nearmemory import neupims
from kvlib.operators import GemmShape, Operator, plain
from kvlib.step import Step

__all__ = ["Npu"]

_READ = {"norm": 1 / 2, "residual": 2 / 3, "activation": 1 / 2}
"""Part of an operator's activations that it reads; the rest it writes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Npu:
    """Weight-stationary arrays that work as one, with a scratchpad fed by HBM.

    Parameters
    ----------
    card : Device
        States the arrays (`systolic`: units, lanes, clock), the vector units and the bandwidth.
    timing : Timing
        DRAM timing of the memory, for refresh and the latency of a first access.
    counts_vectors : bool
        Whether vector units take time. In the simulator they do not: it hands the addresses of a
        vector to the load before it reads the vector's length off them.
    counts_writes : bool
        Whether results that go to memory delay what follows; the simulator's writes are done when
        the memory accepts them.
    scratchpad : float, optional
        Bytes on chip, half of them for the product that runs; without limit if not given, as in the
        simulator, which takes 134 MB [B].

    Examples
    --------
    QKV projection of 8 requests on one of four devices; the simulator says 27,514 cycles of 1 ns:

    >>> from kvlib.operators import GemmShape
    >>> npu = Npu.of_neupims()
    >>> round(npu.matrix_time(GemmShape(m=8, n=3072, k=4096), 2) * 1e9)
    27044
    """

    card: Device
    timing: Timing
    counts_vectors: bool = False
    counts_writes: bool = False
    scratchpad: float | None = None

    @classmethod
    def of_neupims(cls) -> "Npu":
        """Return the simulated one."""
        return cls(card=device("neupims-npu"), timing=neupims().timing)

    @property
    def refreshing(self) -> float:
        """Fraction of the time in which the memory refreshes."""
        return float(self.timing["tRFC"] / self.timing["tREFI"])

    @property
    def bandwidth(self) -> float:
        """Bandwidth of the pins between refreshes [B/s]."""
        return float(self.card.memory().bandwidth * (1 - self.refreshing))

    @property
    def side(self) -> int:
        """Rows and columns of one array."""
        return int(np.sqrt(float(self.card.compute("systolic").lanes["fp16"])))

    def block_time(self, shape: GemmShape) -> Any:
        r"""Time in which the arrays multiply one block of as many tokens as an array has rows [s].

        .. math:: t = \lceil k / w \rceil \left(w + (\lceil n / w \rceil - 1)\, w / a\right) / f

        for a arrays of side w at clock f: tokens stay in the arrays, w inputs of them at a time,
        while a :math:`w \times w` tile of weights passes through in :math:`w / a` clocks. A block
        with fewer tokens takes as long.
        """
        unit, w = self.card.compute("systolic"), self.side
        across = np.ceil(shape.n / w) - 1
        return plain(np.ceil(shape.k / w) * (w + across * w / unit.units) / unit.clock)

    def drain(self, shape: GemmShape) -> Any:
        """Time of the last inputs through the arrays, once their weights have arrived [s]."""
        unit, w = self.card.compute("systolic"), self.side
        fill = 2 * w - 2 + w / unit.units
        return plain(((np.ceil(shape.n / w) - 1) * w / unit.units + fill) / unit.clock)

    def matrix_bytes(self, shape: GemmShape, element_bytes: float) -> Any:
        """Bytes that a product reads: weights, tokens and a bias [B].

        Each once, unless the product must be cut to fit the scratchpad: then weights are read for
        each part of the tokens, and tokens for each part of the outputs.
        """
        of_tokens, of_outputs = self._cuts(shape, element_bytes)
        weights, tokens = shape.k * shape.n * of_tokens, shape.m * shape.k * of_outputs
        written = shape.m * shape.n if self.counts_writes else 0.0
        return element_bytes * shape.copies * (weights + tokens + shape.n + written)

    def _cuts(self, shape: GemmShape, element_bytes: float) -> tuple[Any, Any]:
        """Parts that tokens and outputs are cut into: the longest side in half, until all fits."""
        if self.scratchpad is None:
            return 1.0, 1.0
        room, side = self.scratchpad / 2 / element_bytes, self.side

        def cut(m: float, k: float, n: float) -> tuple[float, float]:
            inner, parts = [m, k, n], [1.0, 1.0, 1.0]
            while True:
                m, k, n = (side * np.ceil(length / side) for length in inner)
                if m * k + k * n + m * n <= room:
                    return parts[0], parts[2]
                longest = int(np.argmax(inner))
                inner[longest] = np.ceil(inner[longest] / 2)
                parts[longest] *= 2

        found = np.vectorize(cut, otypes=[float, float])(shape.m, shape.k, shape.n)
        return plain(found[0][()]), plain(found[1][()])

    def matrix_time(self, shape: GemmShape, element_bytes: float) -> Any:
        """Time of a product of matrices [s].

        The first block of tokens goes through the arrays while weights arrive, so that the slower
        of the two counts; for each further block the weights are on chip already.
        """
        loading = self.matrix_bytes(shape, element_bytes) / self.bandwidth
        block = self.block_time(shape) * shape.copies
        further = (np.ceil(shape.m / self.side) - 1) * block
        return plain(np.maximum(loading, block) + further + self.drain(shape))

    def vector_bytes(self, operator: Operator) -> tuple[Any, Any]:
        """Bytes that a vector operator reads and writes [B]."""
        moved = operator.work.activations
        read = moved * _READ[operator.name.rsplit("_", 1)[-1]]
        return read + operator.work.weights, moved - read

    def vector_time(self, operator: Operator) -> Any:
        """Time of a norm, addition or activation [s].

        A first access to a closed row, then the bytes at the pins' bandwidth; the vector units
        themselves only where `counts_vectors`, at one operation a lane and clock.
        """
        read, written = self.vector_bytes(operator)
        known, unit = self.timing, self.card.compute("vector")
        first = known["tRP"] + known["tRCD"] + known["tCL"] + known["tCCD_L"]
        moved = read + written if self.counts_writes else read
        lanes = unit.units * unit.lanes["fp16"] * unit.clock
        computing = operator.work.flop / lanes if self.counts_vectors else 0.0
        return plain(first + np.maximum(moved / self.bandwidth, computing))

    def operator_time(self, operator: Operator, element_bytes: float) -> Any:
        """Time of any operator outside attention [s]."""
        if operator.kind == "gemm":
            return self.matrix_time(operator.shape, element_bytes)
        return self.vector_time(operator)

    def posted_time(self, operator: Operator, element_bytes: float) -> Any:
        """Time in which an operator's results drain to memory, where that is not counted yet [s].

        The simulator takes a write for done when the memory accepts it.
        """
        if self.counts_writes:
            return 0.0 * operator.work.flop
        if operator.kind == "gemm":
            shape = operator.shape
            written = element_bytes * shape.copies * shape.m * shape.n
        else:
            written = self.vector_bytes(operator)[1]
        return written / self.bandwidth

    def operator_bytes(self, operator: Operator, element_bytes: float) -> Any:
        """Bytes of it that the simulator counts: of matrices what is read, of vectors all [B]."""
        if operator.kind == "gemm":
            return self.matrix_bytes(operator.shape, element_bytes)
        return sum(self.vector_bytes(operator))

    def busy_arrays(self, step: Step) -> Any:
        """Time in which the arrays would do a step's matrices at their peak [s]."""
        peak = self.card.compute("systolic").peak["fp16"]
        return sum(each.total.flop for each in step.operators if each.kind == "gemm") / peak
