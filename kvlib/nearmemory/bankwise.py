"""The same product computed bank by bank: the answer of the hardware, with its commands counted.

Every matrix element is put into the bank, column and lane its layout gives it; then the steps of
`kvlib.nearmemory.commands.walk` are carried out, each on all banks at once.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.commands import walk
from kvlib.nearmemory.layout import Layout

__all__ = ["attend", "multiply", "place"]


def place(matrix: ArrayLike, layout: Layout, elements: int) -> NDArray[Any]:
    """Lay a matrix into banks.

    Parameters
    ----------
    matrix : array, shape (outputs, inputs)
        What to store.
    layout : Layout
        Where its elements go.
    elements : int
        Elements in one column of a bank.

    Returns
    -------
    array, shape (groups, columns, output_banks, input_banks, elements)
        Contents of the banks; what the matrix does not fill is zero.

    Examples
    --------
    >>> pair = Layout(output_banks=2, input_banks=1, along="inputs", write_steps=1, read_steps=1)
    >>> place([[1, 2, 3], [4, 5, 6]], pair, elements=2)[0, 1].tolist()
    [[[3, 0]], [[6, 0]]]
    """
    values = np.asarray(matrix)
    if values.ndim != 2:
        raise ValueError(f"a matrix has two dimensions, but this array has shape {values.shape}.")
    outputs, inputs = values.shape
    groups, columns = (int(extent) for extent in layout.extent(outputs, inputs, elements))
    lanes = elements if layout.along == "outputs" else 1
    padded = np.zeros(
        (
            groups * layout.output_banks * lanes,
            columns * layout.input_banks * (elements // lanes),
        ),
        dtype=values.dtype,
    )
    padded[: values.shape[0], : values.shape[1]] = values
    cells = padded.reshape(
        groups, layout.output_banks, lanes, columns, layout.input_banks, elements // lanes
    )
    return cells.transpose(0, 3, 1, 4, 2, 5).reshape(
        groups, columns, layout.output_banks, layout.input_banks, elements
    )


def multiply(
    pim: BankPim,
    matrix: ArrayLike,
    vectors: ArrayLike,
    *,
    precision: str,
    layout: str | Layout = "matrix",
) -> tuple[NDArray[Any], Counter[str]]:
    """Multiply a matrix that lies in one channel with vectors, bank by bank.

    Parameters
    ----------
    pim : BankPim
        Whose banks.
    matrix : array, shape (outputs, inputs)
        Stored in one channel.
    vectors : array, shape (inputs,) or (inputs, count)
        What it multiplies.
    precision : str
        Format that fixes how many elements a column holds. The arithmetic is that of the arrays'
        own type: whole numbers wrap as NumPy's do, floats are summed in the banks' order.
    layout : str or Layout
        Where the elements lie.

    Returns
    -------
    result : array, shape (outputs,) or (outputs, count)
        The product.
    counts : Counter
        Commands by kind: ``write``, ``open``, ``multiply``, ``close``, ``read``.

    Raises
    ------
    ValueError
        If the shapes do not match, or the matrix does not fit one channel.

    Examples
    --------
    >>> from kvlib.nearmemory import attacc
    >>> tokens, dims = np.arange(100)[:, None], np.arange(64)
    >>> scores, counts = multiply(
    ...     attacc("bank"), tokens + dims, dims, precision="int8", layout="keys")
    >>> bool(np.all(scores == (tokens + dims) @ dims)), counts["multiply"]
    (True, 7)
    """
    stored, given = np.asarray(matrix), np.asarray(vectors)
    if stored.ndim != 2 or given.ndim not in (1, 2) or given.shape[0] != stored.shape[1]:
        raise ValueError(
            f"a matrix of shape {stored.shape} cannot multiply vectors of shape {given.shape}: "
            f"give (outputs, inputs) and (inputs,) or (inputs, count)."
        )
    chosen, elements = pim.layout(layout), pim.elements(precision)
    cells = place(stored, chosen, elements)
    needed, room = cells.shape[0] * cells.shape[1], pim.capacity / pim.channels
    if needed * pim.units * pim.column > room:
        raise ValueError(
            f"a matrix of shape {stored.shape} takes {needed * pim.units * pim.column} B in one "
            f"channel of {pim.name!r}, which holds {room:.0f} B. Divide it over more channels."
        )
    columns = given.reshape(given.shape[0], -1)
    kind = np.result_type(stored, given)
    pieces = _pieces(columns, chosen, cells.shape[1], elements).astype(kind)
    sums = np.zeros((columns.shape[1], cells.shape[0], *cells.shape[2:]), dtype=kind)
    counts: Counter[str] = Counter()
    for step in walk(
        pim, *stored.shape, precision=precision, vectors=columns.shape[1], layout=chosen
    ):
        counts[step.kind] += step.number
        if step.kind == "multiply":
            served = slice(step.first, step.last)
            sums[served, step.group] += cells[step.group, step.column] * pieces[served, step.column]
    result = _collect(sums, chosen)[: stored.shape[0]]
    return (result[:, 0] if given.ndim == 1 else result), counts


def _pieces(vectors: NDArray[Any], layout: Layout, columns: int, elements: int) -> NDArray[Any]:
    """What each unit multiplies its column with, by vector and column."""
    width = elements if layout.along == "inputs" else 1
    padded = np.zeros((columns * layout.input_banks * width, vectors.shape[1]), vectors.dtype)
    padded[: len(vectors)] = vectors
    return padded.T.reshape(vectors.shape[1], columns, 1, layout.input_banks, width)


def _collect(sums: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Add partial sums across the banks that share outputs, and along lanes that share one."""
    shared = (3, 4) if layout.along == "inputs" else (3,)
    added: NDArray[Any] = sums.sum(axis=shared, dtype=sums.dtype)
    return added.reshape(len(sums), -1).T


def attend(
    pim: BankPim, keys: ArrayLike, values: ArrayLike, queries: ArrayLike, *, precision: str
) -> tuple[NDArray[Any], Counter[str]]:
    r"""Attention of one KV head whose cache lies in one channel, bank by bank.

    .. math:: \operatorname{softmax}(Q K^\top / \sqrt{d})\, V

    Parameters
    ----------
    pim : BankPim
        Whose banks.
    keys, values : array, shape (context, head_dim)
        The cache.
    queries : array, shape (queries, head_dim)
        Query rows that share it.
    precision : str
        Format that fixes how many elements a column holds.

    Returns
    -------
    output : array, shape (queries, head_dim)
        What the units and, for the softmax, the host compute.
    counts : Counter
        Commands of both products.

    Examples
    --------
    >>> from kvlib.nearmemory import attacc
    >>> random = np.random.default_rng(0)
    >>> keys, values, query = (random.normal(size=(n, 64)) for n in (300, 300, 1))
    >>> output, counts = attend(attacc("bank"), keys, values, query, precision="fp16")
    >>> weights = np.exp(query @ keys.T / 8)
    >>> np.allclose(output, weights @ values / weights.sum()), counts["multiply"]
    (True, 38)
    """
    stored, rows = np.asarray(values), np.asarray(queries)
    scores, counts = multiply(pim, keys, rows.T, precision=precision, layout="keys")
    scaled = scores / np.sqrt(rows.shape[1])
    weights = np.exp(scaled - scaled.max(axis=0))
    weights = weights / weights.sum(axis=0)
    output, more = multiply(pim, stored.T, weights, precision=precision, layout="values")
    return output.T, counts + more
