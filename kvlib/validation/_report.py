"""How far predictions are from measurements, in one table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import positive

__all__ = ["Errors", "errors", "report"]


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors of n predictions, and the geometric mean of predicted / measured."""

    n: int
    mean: float
    median: float
    p90: float
    p95: float
    ratio: float


def errors(predicted: Any, measured: Any) -> Errors:
    """Compare predictions with measurements, each relative to the measurement.

    Parameters
    ----------
    predicted, measured : array_like of float, shape (n,)
        Times, or any other positive quantity, in the same unit.

    Raises
    ------
    ValueError
        If the shapes differ, or a number is not finite and above zero.

    Examples
    --------
    >>> errors(predicted=[2.0, 0.5], measured=[1.0, 1.0])
    Errors(n=2, mean=0.75, median=0.75, p90=0.95, p95=0.975, ratio=1.0)
    """
    positive(predicted=predicted, measured=measured)
    model, truth = np.asarray(predicted, float), np.asarray(measured, float)
    if model.shape != truth.shape or model.size == 0:
        raise ValueError(
            f"predicted has shape {model.shape} and measured {truth.shape}: "
            f"give one of each per row."
        )
    off = np.abs(model / truth - 1)
    return Errors(
        n=off.size,
        mean=round(float(off.mean()), 12),
        median=round(float(np.median(off)), 12),
        p90=round(float(np.quantile(off, 0.9)), 12),
        p95=round(float(np.quantile(off, 0.95)), 12),
        ratio=round(float(np.exp(np.log(model / truth).mean())), 12),
    )


def report(
    groups: dict[str, np.ndarray[Any, Any]], predicted: Any, measured: Any, ideal: Any
) -> Iterator[str]:
    """Lines of a table: a row per group, with the pure roofline's mean error beside the model's.

    Parameters
    ----------
    groups : dict of str to array of bool, shape (n,)
        Which rows belong to each group.
    predicted, measured, ideal : array of float, shape (n,)
        The model, the measurement and the pure roofline.
    """
    width = max(len("group"), *(len(group) for group in groups))
    titles = f"{'n':>6}  {'mean':>7}  {'median':>7}  {'p90':>7}  {'ratio':>6}  ideal"
    yield f"{'group':{width}}  {titles}"
    for group, rows in groups.items():
        line, pure = errors(predicted[rows], measured[rows]), errors(ideal[rows], measured[rows])
        yield (
            f"{group:{width}}  {line.n:6d}  {line.mean:7.1%}  {line.median:7.1%}  {line.p90:7.1%}"
            f"  {line.ratio:6.3f}  {pure.mean:.1%}"
        )
