"""Bank-level PIM in closed form: time from DRAM timing and organisation alone.

In every channel one command makes all units multiply one column of their bank's open row with one
column of a vector. So a product takes its multiply commands, one every tMAC, and whatever
interrupts them: rows to open and close, vectors to write, results to read, refresh. Sizes and
timing parameters may be arrays.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, positive, whole
from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.dram import refreshes
from kvlib.nearmemory.layout import Layout

__all__ = ["Cost", "attention", "gemv", "sharing_time"]

Refresh = Literal["counted", "average", "none"]


@dataclass(frozen=True)
class Cost:
    """Commands of the busiest channel, and where its time goes.

    Parameters
    ----------
    macs, rows, writes, reads : float or array
        Multiply commands, rows opened, vector columns written, result reads.
    multiply, switch, transfer, refresh : float or array
        Time of the multiply commands, and time lost to opening and closing rows, to moving vectors
        and results, and to refresh [s].
    """

    macs: Any
    rows: Any
    writes: Any
    reads: Any
    multiply: Any
    switch: Any
    transfer: Any
    refresh: Any

    @property
    def time(self) -> Any:
        """All of it [s]."""
        return self.multiply + self.switch + self.transfer + self.refresh

    @property
    def efficiency(self) -> Any:
        """Fraction of the time in which the units multiply."""
        return self.multiply / self.time


@dataclass(frozen=True)
class _Product:
    """One matrix with some vectors in one channel, before refresh and before overlap.

    Besides the commands of `Cost`: fillings of the vector buffer, passes over the matrix, time of
    all rows one after another and of the last one [s], vector columns before the first
    multiplication, and result reads after the last.
    """

    macs: Any
    rows: Any
    writes: Any
    reads: Any
    runs: Any
    passes: Any
    stream: Any
    last_row: Any
    first_writes: Any
    last_reads: Any


def fillings(pim: BankPim, layout: Layout, columns: Any, elements: int) -> tuple[Any, Any]:
    """Columns of a group that one filling of the vector buffer serves, and fillings it takes."""
    chunk = np.minimum(columns, pim.vector_columns * (1 if layout.along == "inputs" else elements))
    return chunk, np.ceil(columns / chunk)


def at_once(pim: BankPim, layout: Layout) -> bool:
    """Whether the sums of one group of outputs fill result reads of their own."""
    return not (pim.results == "tree" and layout.along == "inputs")


def result_reads(pim: BankPim, layout: Layout, groups: Any, elements: int) -> Any:
    """Result reads that fetch the sums of some groups of outputs."""
    if layout.along == "inputs" and pim.results == "gather":
        return groups * np.ceil(layout.output_banks / elements)
    if layout.along == "inputs" and pim.results == "tree":
        return layout.read_steps * np.ceil(groups / elements)
    return layout.read_steps * groups


def _product(
    pim: BankPim, outputs: Any, inputs: Any, layout: Layout, precision: str, vectors: Any
) -> _Product:
    elements = pim.elements(precision)
    groups, columns = layout.extent(outputs, inputs, elements)
    chunk, filled = fillings(pim, layout, columns, elements)
    tiles = np.ceil(groups / pim.accumulators)
    rewritten = np.maximum(np.minimum(filled - 1, 1) * tiles, 1)
    writes = layout.write_steps * layout.vector_columns(columns, elements) * rewritten
    last_tile = groups - (tiles - 1) * pim.accumulators
    last_reads = result_reads(pim, layout, last_tile, elements)
    reads = (tiles - 1) * result_reads(pim, layout, pim.accumulators, elements) + last_reads
    macs, rows, stream = 0.0, 0.0, 0.0
    full = np.floor(vectors / pim.held)
    rest = vectors - full * pim.held
    for visits, served in ((full, pim.held), (np.ceil(rest / pim.held), rest)):
        repeats = np.ceil(served / pim.reuse)
        for count, length in _rows(pim, layout, groups, columns, chunk, filled):
            macs = macs + visits * count * length * repeats
            rows = rows + visits * count
            stream = stream + visits * count * pim.row_period(length * repeats)
    if at_once(pim, layout):  # a group's sums leave when it is done, unless the buffer is refilled
        few = result_reads(pim, layout, 1, elements)
        last_reads = few + (last_reads - few) * np.minimum(filled - 1, 1)
    first = layout.write_steps * layout.vector_columns(chunk, elements)
    return _Product(
        macs=macs,
        rows=rows,
        writes=writes * vectors,
        reads=reads * vectors,
        runs=rewritten * filled * np.ceil(vectors / pim.held),
        passes=np.ceil(vectors / pim.held),
        stream=stream,
        last_row=pim.row_period(np.minimum(pim.row_columns, columns)),
        first_writes=first,
        last_reads=last_reads * (vectors - (np.ceil(vectors / pim.held) - 1) * pim.held),
    )


def _rows(
    pim: BankPim, layout: Layout, groups: Any, columns: Any, chunk: Any, filled: Any
) -> list[tuple[Any, Any]]:
    """Rows that one pass over the matrix opens: how many, and columns read in each."""
    if not layout.new_row:
        return _split(groups * columns, pim.row_columns, 1.0)
    last = columns - (filled - 1) * chunk
    return [
        *_split(chunk, pim.row_columns, groups * (filled - 1)),
        *_split(last, pim.row_columns, groups),
    ]


def _split(length: Any, row: int, count: Any) -> list[tuple[Any, Any]]:
    """Cut runs of columns into full rows and what is left."""
    full = np.floor(length / row)
    left = length - full * row
    return [(count * full, float(row)), (count * np.ceil(left / row), left)]


def _transfers(pim: BankPim, product: _Product) -> Any:
    """Time of all vector writes and result reads [s]."""
    return product.writes * pim.write + product.reads * pim.read + product.runs * pim.write_setup


def _exposed(pim: BankPim, product: _Product) -> Any:
    """Time of the transfers that nothing hides in one product [s]."""
    if not pim.overlap:
        return _transfers(pim, product)
    first = product.first_writes * pim.write + pim.write_setup
    return np.maximum(first - pim.open_time, 0.0) + product.last_reads * pim.read


def _cost(pim: BankPim, product: _Product, exposed: Any, refresh: Refresh) -> Cost:
    """Add transfers and refresh to a stream of rows."""
    choose(refresh, ["counted", "average", "none"], "refresh")
    t = pim.timing
    close = t["tRTP"] + t["tRP"] - t["tMAC"]
    multiply = product.macs * t["tMAC"]
    switch = product.stream - multiply
    pause = t["tRFC"]
    if pim.banks_per_unit > 1:  # a new matrix, or a refresh, finds no bank open
        switch = switch + product.passes * (pim.open_time + close)
        pause = pause + pim.open_time + close
    transfer = exposed
    if pim.overlap:  # the last row need not be closed before its results leave
        switch = switch - close
        transfer = np.maximum(exposed, _transfers(pim, product) - multiply - switch)
    busy = multiply + switch + transfer
    if refresh == "counted":
        after = product.last_row + (0.0 if pim.overlap else product.last_reads * pim.read)
        lost = refreshes(busy - after, t) * pause
    elif refresh == "average":
        lost = busy * pause / (t["tREFI"] - pause)
    else:
        lost = 0.0 * busy
    return Cost(
        macs=product.macs,
        rows=product.rows,
        writes=product.writes,
        reads=product.reads,
        multiply=multiply,
        switch=switch,
        transfer=transfer,
        refresh=lost,
    )


def gemv(
    pim: BankPim,
    outputs: Any,
    inputs: Any,
    *,
    precision: str,
    vectors: Any = 1,
    layout: str | Layout = "matrix",
    channels: Any = None,
    refresh: Refresh = "counted",
) -> Cost:
    r"""Product of a matrix that lies in the banks with one or several vectors.

    .. math::

        t = M\,t_\text{MAC} + R\,(t_\text{row} - c\,t_\text{MAC}) + W\,t_\text{W} + D\,t_\text{D}
            + n\,t_\text{RFC}

    for M multiply commands, R rows of c commands each, W vector columns written, D results read and
    n refreshes (`kvlib.nearmemory.dram`). Where transfers have paths of their own, only the first
    write and the last read remain.

    Parameters
    ----------
    pim : BankPim
        Where the matrix lies.
    outputs, inputs : int or array
        Rows and columns of the matrix.
    precision : str
        Format of matrix and vectors.
    vectors : int or array
        Vectors that the same matrix multiplies. A unit that multiplies one of them at a time reads
        the matrix once for each: the price of grouped queries on today's parts.
    layout : str or Layout
        Name of one of the device's layouts, or another one.
    channels : int or array, optional
        Channels over which the outputs are divided; all unless given.
    refresh : {"counted", "average", "none"}
        Refreshes of an operation that starts just after one, of one that starts at any time, or
        none.

    Returns
    -------
    Cost
        Commands and time of the busiest channel.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero.
    UnknownName
        If the units cannot multiply this format.

    Notes
    -----
    Constraints and layouts as in the simulators of :cite:t:`park2024attacc`,
    :cite:t:`heo2024neupims` and :cite:t:`gu2025cent`, and in :cite:t:`samsungpimsim`.

    Examples
    --------
    >>> from kvlib.nearmemory import gddr6_aim
    >>> from kvlib.units import us
    >>> cost = gemv(gddr6_aim(), 4096, 4096, precision="bf16")
    >>> print(f"{cost.time / us:.1f} us, multiplying {100 * cost.efficiency:.0f} % of it")
    73.4 us, multiplying 45 % of it
    """
    whole(outputs=outputs, inputs=inputs, vectors=vectors)
    spread = pim.channels if channels is None else channels
    whole(channels=spread)
    chosen = pim.layout(layout)
    product = _product(pim, np.ceil(outputs / spread), inputs, chosen, precision, vectors)
    return _cost(pim, product, _exposed(pim, product), refresh)


def attention(
    pim: BankPim,
    context: Any,
    *,
    heads: Any,
    head_dim: Any,
    precision: str,
    queries: Any = 1,
    softmax: Any = 0.0,
    channels_per_head: int = 1,
    refresh: Refresh = "counted",
) -> Cost:
    r"""Decode attention on keys and values that lie in the banks.

    Each KV head is two products: its keys with the queries give the scores, its values with the
    probabilities give the output. Channels work on different heads side by side, so

    .. math:: t = \lceil \text{heads} / \text{channels} \rceil\,(t_\text{keys} + t_\text{values})

    and a channel without a head in the last round waits. Where transfers overlap, the scores of one
    head travel while the units work on another; only the last head of an odd number is alone.

    Parameters
    ----------
    pim : BankPim
        Where the cache lies.
    context : int or array
        Cached tokens that each query reads.
    heads : int or array
        KV heads of all requests together.
    head_dim : int or array
        Elements of one key and of one value.
    precision : str
        Format of the cache.
    queries : int or array
        Query rows that read each KV head: query heads per KV head x query tokens. Units that reuse
        nothing read the cache once for each.
    softmax : float or array
        Time in which the scores of one head become probabilities [s].
    channels_per_head : int
        Channels that share the tokens of one head.
    refresh : {"counted", "average", "none"}
        As in `gemv`.

    Examples
    --------
    One of AttAcc's stacks, 20 heads of 2,049 tokens; its simulator says 8,053 cycles of 0.769 ns:

    >>> from kvlib.nearmemory import attacc
    >>> from kvlib.units import ns
    >>> cost = attention(attacc("bank", stacks=1), 2049, heads=20, head_dim=128, precision="fp16")
    >>> round(float(cost.time) / (0.769 * ns))
    8130
    """
    whole(context=context, heads=heads, head_dim=head_dim, queries=queries)
    whole(channels_per_head=channels_per_head)
    positive(True, softmax=softmax)
    rounds = np.ceil(heads * channels_per_head / pim.channels)
    tokens = np.ceil(context / channels_per_head)
    keys = _product(pim, tokens, head_dim, pim.layout("keys"), precision, queries)
    values = _product(pim, head_dim, tokens, pim.layout("values"), precision, queries)
    both = _Product(
        macs=rounds * (keys.macs + values.macs),
        rows=rounds * (keys.rows + values.rows),
        writes=rounds * (keys.writes + values.writes),
        reads=rounds * (keys.reads + values.reads),
        runs=rounds * (keys.runs + values.runs),
        passes=rounds * (keys.passes + values.passes),
        stream=rounds * (keys.stream + values.stream),
        last_row=values.last_row,
        first_writes=keys.first_writes,
        last_reads=values.last_reads,
    )
    exposed = _exposed(pim, both)
    if pim.overlap:
        between = keys.last_reads * pim.read + softmax + values.writes * pim.write
        switching = pim.row_period(1) if pim.banks_per_unit == 1 else 0.0
        exposed = exposed + (rounds % 2) * np.maximum(between - switching, 0.0)
    else:
        exposed = exposed + rounds * softmax
    return _cost(pim, both, exposed, refresh)


def sharing_time(pim_time: Any, host_time: Any, *, dual_row_buffers: bool) -> Any:
    """Time until both the units and the host are done with the same banks [s].

    With one row buffer to a bank the two take turns (blocked mode). With two they run at the same
    time and the longer one remains; what they still cost each other on the command bus is not
    modelled, and is about 11 % of the host's time in NeuPIMs' simulator.

    Notes
    -----
    Dual row buffers: :cite:t:`heo2024neupims`.

    Examples
    --------
    >>> sharing_time(30e-6, 50e-6, dual_row_buffers=False), sharing_time(
    ...     30e-6, 50e-6, dual_row_buffers=True)
    (8e-05, 5e-05)
    """
    positive(True, pim_time=pim_time, host_time=host_time)
    both = np.maximum(pim_time, host_time) if dual_row_buffers else pim_time + host_time
    return float(both) if np.ndim(both) == 0 else both
