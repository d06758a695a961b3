"""Labelled grids: name an axis once, and every formula broadcasts by that name.

>>> from kvlib.operators import gemm
>>> work = gemm(**axes(m=[1, 64, 4096]), n=4096, k=4096, element_bytes=2)
>>> work.intensity.sel(m=64).item()
62.06060606060606
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["axes"]


def axes(**values: Iterable[Any]) -> dict[str, xr.DataArray]:
    """One labelled array per axis, each along a dimension of its own name.

    Parameters
    ----------
    **values : iterable
        The points of each axis: numbers, or names such as precisions.

    Returns
    -------
    dict of str to DataArray
        Ready to be passed on with ``**``; results come back with every axis as a dimension.

    Raises
    ------
    ValueError
        If an axis is empty, holds the same point twice or a number that is not finite.
    TypeError
        If an axis is a single point, or holds neither numbers nor names.

    Examples
    --------
    >>> grid = axes(batch=[1, 8], context=[1024, 4096, 16384])
    >>> (grid["batch"] * grid["context"]).shape
    (2, 3)
    """
    return {name: _axis(name, points) for name, points in values.items()}


def _axis(name: str, given: Iterable[Any]) -> xr.DataArray:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"axis {name!r} = {given!r} must be a list of points: write [{given!r}].")
    points = np.asarray(list(given))
    if points.dtype.kind not in "iufUb":
        raise TypeError(f"axis {name!r} = {given!r} must hold numbers or names.")
    if points.ndim != 1 or points.size == 0:
        raise ValueError(
            f"axis {name!r} has shape {points.shape}: give a list of one or more points."
        )
    if points.dtype.kind == "f" and not np.isfinite(points).all():
        bad = points[~np.isfinite(points)][0]
        raise ValueError(f"axis {name!r} holds {bad}: every point must be finite.")
    unique, counts = np.unique(points, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"axis {name!r} holds {unique[counts > 1][0]} twice: list each point once."
        )
    return xr.DataArray(points, dims=name, coords={name: points})
