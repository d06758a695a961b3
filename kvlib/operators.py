"""Work: floating-point operations, and the bytes they need, by stream.

Closed forms for the linear algebra of a transformer. They know no hardware; `roofline` and
`nearmemory` turn work into seconds. Every argument may be a scalar, a NumPy array or a labelled
xarray array; shapes broadcast.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kvlib.checks import finite, positive, whole

__all__ = ["GemmShape", "Operator", "Work", "gemm", "gemv", "linear", "plain"]


@dataclass(frozen=True)
class Work:
    """What an operator must do and move at the least.

    Parameters
    ----------
    flop : float or array
        Floating-point operations, a multiply-add counted as two [flop].
    weights, kv, activations : float or array
        Bytes read or written of each stream [B].

    Examples
    --------
    >>> step = linear(tokens=1, inputs=4096, outputs=4096, element_bytes=2)
    >>> round(step.intensity, 2)
    1.0
    """

    flop: Any = 0.0
    weights: Any = 0.0
    kv: Any = 0.0
    activations: Any = 0.0

    @property
    def bytes(self) -> Any:
        """Bytes of all streams [B]."""
        return self.weights + self.kv + self.activations

    @property
    def intensity(self) -> Any:
        """Operations per byte [flop/B]; NaN for no work at all."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(self.flop, self.bytes)
        return float(ratio) if np.ndim(ratio) == 0 else ratio

    def __add__(self, other: "Work") -> "Work":
        return Work(
            flop=self.flop + other.flop,
            weights=self.weights + other.weights,
            kv=self.kv + other.kv,
            activations=self.activations + other.activations,
        )

    def __mul__(self, count: Any) -> "Work":
        return Work(
            flop=self.flop * count,
            weights=self.weights * count,
            kv=self.kv * count,
            activations=self.activations * count,
        )

    __rmul__ = __mul__


@dataclass(frozen=True)
class GemmShape:
    """Shape of a product of matrices: `m` rows meet an n x k weight, in `copies` separate products.

    Copies are the heads of a projection that each head has for itself, or the experts in use.
    """

    m: Any
    n: Any
    k: Any
    copies: Any = 1.0


@dataclass(frozen=True)
class Operator:
    """One step of a layer: its name, its work, and the shape a kernel for it would see.

    Parameters
    ----------
    name : str
        What it does, such as ``"qkv_projection"``.
    kind : {"gemm", "attention", "elementwise", "gather"}
        What sort of kernel runs it. The attention operators of a layer run as one kernel.
    work : Work
        Work of one execution.
    shape : GemmShape or kvlib.attention.AttentionShape, optional
        Sizes a measured efficiency depends on; None for elementwise operators and gathers.
    layers : tuple of int
        Layers that execute it, each once; empty before the first and after the last.
    """

    name: str
    kind: Literal["gemm", "attention", "elementwise", "gather"]
    work: Work
    shape: Any = None
    layers: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Executions in one pass through the model."""
        return len(self.layers) or 1

    @property
    def total(self) -> Work:
        """Work of all executions."""
        return self.work * self.count


def gemm(m: Any, n: Any, k: Any, *, element_bytes: Any, alpha: float = 1, beta: float = 0) -> Work:
    r"""General matrix-matrix multiplication.

    .. math:: C \leftarrow \alpha A B + \beta C, \qquad A: m \times k,\ B: k \times n

    Parameters
    ----------
    m, n, k : int or array
        Rows of the result, columns of the result, and the inner dimension.
    element_bytes : float or array
        Size of one element of all three matrices [B].
    alpha, beta : float
        Scale of the product and of the old result. With :math:`\beta = 0` the old result is not
        read; with :math:`\alpha = 1, \beta = 0` this is the plain product of two matrices.

    Returns
    -------
    Work
        :math:`2mnk` operations, plus :math:`mn` each for scaling by :math:`\alpha \ne 1`, scaling
        by :math:`\beta \notin \{0, 1\}` and adding the old result. A and C count as activations, B
        as weights; each matrix is moved once.

    Raises
    ------
    ValueError
        If a dimension is not a whole number above zero, an element has no size, or a scale is not
        finite.

    Notes
    -----
    The operation and its :math:`\alpha, \beta`: level 3 BLAS, :cite:t:`dongarra1990blas3`.

    Examples
    --------
    >>> gemm(4096, 4096, 4096, element_bytes=2).intensity
    1365.3333333333333
    """
    whole(m=m, n=n, k=k)
    positive(element_bytes=element_bytes)
    finite(alpha=alpha, beta=beta)
    m, n, k = _real(m), _real(n), _real(k)
    passes_over_result = (alpha != 1) + (beta not in (0, 1)) + (beta != 0)
    result_moves = 1 + (beta != 0)
    return Work(
        flop=2 * m * n * k + passes_over_result * m * n,
        weights=element_bytes * n * k,
        activations=element_bytes * (m * k + result_moves * m * n),
    )


def gemv(n: Any, k: Any, *, element_bytes: Any, alpha: float = 1, beta: float = 0) -> Work:
    r"""General matrix-vector multiplication.

    .. math:: y \leftarrow \alpha A x + \beta y, \qquad A: n \times k

    A GEMM of one row: each element of the matrix is read once and used for one multiply-add, so at
    two bytes per element the intensity cannot exceed one operation per byte at any size.

    Parameters
    ----------
    n, k : int or array
        Length of the result and of the vector.
    element_bytes, alpha, beta
        As in `gemm`.

    Examples
    --------
    >>> round(gemv(4096, 4096, element_bytes=2).intensity, 4)
    0.9995
    """
    return gemm(1, n, k, element_bytes=element_bytes, alpha=alpha, beta=beta)


def linear(
    tokens: Any,
    inputs: Any,
    outputs: Any,
    *,
    element_bytes: Any,
    weight_bytes: Any = None,
    bias: bool = False,
) -> Work:
    r"""A linear layer applied to a batch of tokens: :math:`Y = X W^\top + b`.

    Parameters
    ----------
    tokens, inputs, outputs : int or array
        Rows of X, and the layer's input and output features.
    element_bytes : float or array
        Size of one activation [B].
    weight_bytes : float or array, optional
        Size of one weight [B]; the same as an activation unless given.
    bias : bool
        Whether a bias is read and added.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or an element has no size.

    Examples
    --------
    >>> round(linear(256, 8192, 8192, element_bytes=2).intensity)
    241
    >>> round(linear(256, 8192, 8192, element_bytes=2, weight_bytes=1).intensity)
    455
    """
    stored = element_bytes if weight_bytes is None else weight_bytes
    whole(tokens=tokens, inputs=inputs, outputs=outputs)
    positive(element_bytes=element_bytes, weight_bytes=stored)
    product = gemm(tokens, outputs, inputs, element_bytes=element_bytes)
    rows, features = _real(tokens), _real(outputs)
    return Work(
        flop=product.flop + (rows * features if bias else 0.0),
        weights=stored * features * (_real(inputs) + bias),
        activations=product.activations,
    )


def _real(size: Any) -> Any:
    """Sizes as floats: a product of three 32-bit integers overflows in silence."""
    return (np.asarray(size) if isinstance(size, list | tuple) else size) * 1.0


def plain(number: Any) -> Any:
    """Return a NumPy scalar as a Python number, and anything else as it is.

    Examples
    --------
    >>> plain(np.minimum(3.0, 4.0))
    3.0
    """
    return number.item() if isinstance(number, np.generic) else number
