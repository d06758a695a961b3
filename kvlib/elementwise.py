"""Closed forms of the operators without a matrix: norms, rotary positions, activations, gathers.

One addition, subtraction, multiplication, division, maximum, change of sign, exponential,
hyperbolic tangent or square root is one operation. A sum or a maximum over n elements is n
operations, as a product of two vectors of n elements is n multiply-adds, of two operations each.
Choosing the largest experts, moving elements and changing their format are none. `kvlib.reference`
counts by the same rules.

| operator | operations |
|---|---|
| root-mean-square norm | 4 an element and 3 a row |
| layer norm, with shift | 7 an element and 4 a row |
| rotary position | 3 an element (6 a pair) |
| SiLU times gate | 5 an element of the result |
| GELU (tanh form) | 9 an element |
| softmax over experts, renormalised | 5 an expert and 2 an active expert |
"""

from typing import Any

from kvlib.checks import positive, whole
from kvlib.operators import Work

__all__ = ["activation", "add", "gather", "norm", "rotary", "routing"]


def gather(rows: Any, width: Any, *, element_bytes: Any, weight_bytes: Any) -> Work:
    """Pick rows of a table, such as the embedding: all rows taken to be different.

    Parameters
    ----------
    rows, width : int or array
        Rows picked, and elements of each.
    element_bytes, weight_bytes : float or array
        Size of one element of the result, and of the table [B].

    Examples
    --------
    >>> gather(8, 4096, element_bytes=2, weight_bytes=2).weights
    65536.0
    """
    whole(rows=rows, width=width)
    positive(element_bytes=element_bytes, weight_bytes=weight_bytes)
    elements = 1.0 * rows * width
    return Work(weights=elements * weight_bytes, activations=elements * element_bytes)


def norm(
    rows: Any, width: Any, *, element_bytes: Any, weight_bytes: Any, centred: bool = False
) -> Work:
    r"""Root-mean-square norm of each row, or layer norm if `centred`.

    .. math:: y = \frac{x}{\sqrt{\overline{x^2} + \epsilon}}\, w
        \qquad\text{or}\qquad
        y = \frac{x - \bar x}{\sqrt{\overline{(x - \bar x)^2} + \epsilon}}\, w + b

    Parameters
    ----------
    rows, width : int or array
        Rows, and elements of each.
    element_bytes, weight_bytes : float or array
        Size of one activation and of one weight [B].
    centred : bool
        Whether the mean is subtracted first and a shift is added last.

    Examples
    --------
    >>> norm(1, 4096, element_bytes=2, weight_bytes=2).flop
    16387.0
    """
    whole(rows=rows, width=width)
    positive(element_bytes=element_bytes, weight_bytes=weight_bytes)
    per_element, per_row, vectors = (7, 4, 2) if centred else (4, 3, 1)
    return Work(
        flop=1.0 * rows * (per_element * width + per_row),
        weights=vectors * 1.0 * width * weight_bytes,
        activations=2.0 * rows * width * element_bytes,
    )


def rotary(rows: Any, width: Any, *, element_bytes: Any) -> Work:
    r"""Rotate each pair of a row by its token's angle; sines and cosines come from a small table.

    .. math:: (a, b) \to (a\cos\theta - b\sin\theta,\; a\sin\theta + b\cos\theta)

    Examples
    --------
    >>> rotary(40, 128, element_bytes=2).flop
    15360.0
    """
    whole(rows=rows, width=width)
    positive(element_bytes=element_bytes)
    elements = 1.0 * rows * width
    return Work(flop=3 * elements, activations=2 * elements * element_bytes)


def activation(rows: Any, width: Any, *, gated: bool, element_bytes: Any) -> Work:
    r"""SiLU of the gate times the other half if `gated`, else GELU in its tanh form.

    .. math:: \frac{g}{1 + e^{-g}}\, u \qquad\text{or}\qquad
        \tfrac12 u\left(1 + \tanh\left(c\,(u + 0.044715\,u^3)\right)\right),
        \quad c = \sqrt{2/\pi}

    Parameters
    ----------
    rows, width : int or array
        Rows, and elements of each row of the result.
    gated : bool
        Whether a row of the input holds a gate besides.
    element_bytes : float or array
        Size of one activation [B].

    Examples
    --------
    >>> activation(1, 14336, gated=True, element_bytes=2).flop
    71680.0
    """
    positive(rows=rows, width=width, element_bytes=element_bytes)
    elements = 1.0 * rows * width
    operations, moves = (5, 3) if gated else (9, 2)
    return Work(flop=operations * elements, activations=moves * elements * element_bytes)


def add(rows: Any, width: Any, *, element_bytes: Any) -> Work:
    """Add two rows, as at the end of each half of a layer.

    Examples
    --------
    >>> add(1, 4096, element_bytes=2).activations
    24576.0
    """
    whole(rows=rows, width=width)
    positive(element_bytes=element_bytes)
    elements = 1.0 * rows * width
    return Work(flop=elements, activations=3 * elements * element_bytes)


def routing(rows: Any, experts: Any, active: Any, *, element_bytes: Any) -> Work:
    """Softmax of each row over the experts, and the largest `active` scaled to add up to one.

    Examples
    --------
    >>> routing(1, 8, 2, element_bytes=2).flop
    44.0
    """
    whole(rows=rows, experts=experts, active=active)
    positive(element_bytes=element_bytes)
    return Work(
        flop=1.0 * rows * (5 * experts + 2 * active),
        activations=1.0 * rows * (experts + active) * element_bytes,
    )
