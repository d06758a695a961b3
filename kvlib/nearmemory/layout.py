"""How a matrix lies across the banks that step together, and what each way costs.

A channel's banks work in lockstep: one command makes every bank deliver one column of its open row
to the unit beside it. A layout says which matrix elements meet in one such command. The banks form
a grid: along one side they hold different outputs, along the other different inputs, whose partial
sums are added on the way out. The elements of one column lie either along the inputs, and the unit
adds their products (an adder tree), or along the outputs, and the unit scales them all by one
input.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kvlib.checks import whole

__all__ = ["Append", "Layout"]


@dataclass(frozen=True)
class Append:
    """What adding one token to a cache costs in one channel.

    Parameters
    ----------
    rows : float or array
        Rows that must be opened, one after another, in all banks that the token touches.
    columns : float or array
        Columns written, over all banks.
    useful : float or array
        Fraction of the written bytes that belong to the token.
    """

    rows: Any
    columns: Any
    useful: Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A matrix of outputs by inputs across the banks of one channel.

    Parameters
    ----------
    output_banks, input_banks : int
        Sides of the grid of banks; their product is the number of banks that step together.
    along : {"inputs", "outputs"}
        Which way the elements of one column lie.
    write_steps : int
        Commands that bring one column of the vector to every bank that needs it: 1 if one command
        reaches all of them.
    read_steps : int
        Commands that fetch one column of results from every bank, after partial sums are added.
    new_row : bool
        Whether each group of outputs starts a row of its own; else groups follow each other.

    Examples
    --------
    A key cache of 2,048 tokens with 128 elements each, in AttAcc's layout:

    >>> keys = Layout(output_banks=16, input_banks=4, along="inputs", write_steps=4, read_steps=8)
    >>> groups, columns = keys.extent(2048, 128, elements=16)
    >>> print(int(groups), "groups of outputs,", int(columns), "columns each")
    128 groups of outputs, 2 columns each
    """

    output_banks: int
    input_banks: int
    along: Literal["inputs", "outputs"]
    write_steps: int
    read_steps: int
    new_row: bool = False

    def __post_init__(self) -> None:
        whole(output_banks=self.output_banks, input_banks=self.input_banks)
        whole(write_steps=self.write_steps, read_steps=self.read_steps)
        if self.along not in ("inputs", "outputs"):
            raise ValueError(f"along = {self.along!r} must be 'inputs' or 'outputs'.")

    @property
    def banks(self) -> int:
        """Banks that step together."""
        return self.output_banks * self.input_banks

    def extent(self, outputs: Any, inputs: Any, elements: int) -> tuple[Any, Any]:
        """Groups of outputs in each bank, and columns in each group.

        Parameters
        ----------
        outputs, inputs : int or array
            Rows and columns of the matrix.
        elements : int
            Matrix elements in one column of a bank.

        Notes
        -----
        Every bank holds groups x columns columns; what the matrix does not fill is padding that is
        read all the same.
        """
        whole(outputs=outputs, inputs=inputs, elements=elements)
        if self.along == "inputs":
            return (
                np.ceil(outputs / self.output_banks),
                np.ceil(inputs / (self.input_banks * elements)),
            )
        return (
            np.ceil(outputs / (self.output_banks * elements)),
            np.ceil(inputs / self.input_banks),
        )

    def vector_columns(self, columns: Any, elements: int) -> Any:
        """Columns of vector that a bank needs to work through `columns` columns of a group."""
        return columns if self.along == "inputs" else np.ceil(columns / elements)

    def append(
        self, tokens: Any, head_dim: Any, *, elements: int, row_columns: int, side: str
    ) -> Append:
        """Cost of adding one token to a cache in this layout.

        Parameters
        ----------
        tokens : int or array
            Room for tokens, which fixes where in the rows the new one lies.
        head_dim : int or array
            Elements of one token's key or value in one head.
        elements, row_columns : int
            Elements in a column, columns in a row of a bank.
        side : {"outputs", "inputs"}
            Which side of the matrix the tokens are on: outputs for keys (a score is an output),
            inputs for values (a token's value is weighed by its probability).

        Returns
        -------
        Append
            Rows, columns and how much of what is written is useful.

        Examples
        --------
        Values kept by dimension, so that an adder tree can run along the tokens, scatter each new
        token over as many rows as a head has dimensions per bank, two useful bytes in each column:

        >>> by_dimension = Layout(
        ...     output_banks=16, input_banks=1, along="inputs", write_steps=1, read_steps=1,
        ...     new_row=True,
        ... )
        >>> cost = by_dimension.append(4096, 128, elements=16, row_columns=64, side="inputs")
        >>> print(int(cost.rows), "rows,", int(cost.columns), "columns,", cost.useful, "useful")
        8 rows, 128 columns, 0.0625 useful
        """
        if side not in ("outputs", "inputs"):
            raise ValueError(f"side = {side!r} must be 'outputs' (keys) or 'inputs' (values).")
        shape = (tokens, head_dim) if side == "outputs" else (head_dim, tokens)
        groups, columns = self.extent(*shape, elements)
        if side == "outputs":  # the token is one output: all columns of one group
            touched, rows = self.input_banks * columns, np.ceil(columns / row_columns)
        else:  # the token is one input: one column of every group
            apart = groups if self.new_row else np.ceil(groups * columns / row_columns)
            touched, rows = self.output_banks * groups, np.minimum(groups, apart)
        return Append(rows=rows, columns=touched, useful=head_dim / (touched * elements))
