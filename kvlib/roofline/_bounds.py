"""What a datasheet alone says about time: the roofline and its counterpart from above."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import positive
from kvlib.hardware import Device
from kvlib.operators import Work

__all__ = ["Bounds", "attainable", "bounds"]


@dataclass(frozen=True)
class Bounds:
    """Compute time and memory time of some work on a device [s].

    Examples
    --------
    >>> pace = Bounds(compute=1.0, memory=3.0)
    >>> print(pace.lower, pace.upper)
    3.0 4.0
    """

    compute: Any
    memory: Any

    @property
    def lower(self) -> Any:
        """Time if the two overlap fully: the larger term [s]."""
        return np.maximum(self.compute, self.memory)

    @property
    def upper(self) -> Any:
        """Time if the two do not overlap at all: their sum [s]."""
        return self.compute + self.memory

    @property
    def memory_bound(self) -> Any:
        """Whether the memory term is the larger one."""
        return self.memory > self.compute


def bounds(work: Work, device: Device, precision: str) -> Bounds:
    r"""Bound the time of some work by the datasheet alone.

    .. math:: t \ge \max(F / \text{peak},\; Q / \text{bandwidth})

    Parameters
    ----------
    work : Work
        Operations F and bytes Q, of any shape.
    device : Device
        Processor and main memory.
    precision : str
        Number format the processor computes in.

    Raises
    ------
    UnknownFigure
        If the device states no peak for this precision, or no bandwidth.

    Notes
    -----
    The roofline: :cite:t:`williams2009roofline`.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.operators import gemv
    >>> from kvlib.units import us
    >>> pace = bounds(gemv(8192, 8192, element_bytes=2), device("h100-sxm-80gb"), "fp16")
    >>> print(f"{pace.lower / us:.1f} us, memory-bound: {pace.memory_bound}")
    40.1 us, memory-bound: True
    """
    return Bounds(
        compute=work.flop / float(device.peak(precision)),
        memory=work.bytes / float(device.memory().bandwidth),
    )


def attainable(intensity: Any, device: Device, precision: str) -> Any:
    r"""Highest rate a device can reach at an intensity [flop/s].

    .. math:: \min(\text{peak},\; \text{intensity} \times \text{bandwidth})

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import TFLOP, s
    >>> round(float(attainable(1.0, device("a100-sxm-80gb"), "fp16")) / (TFLOP / s), 2)
    2.04
    """
    positive(intensity=intensity)
    return np.minimum(device.peak(precision), intensity * float(device.memory().bandwidth))
