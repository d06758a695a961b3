"""What CENT is compared with: its authors' A100s as published, and A100s with measured kernels."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.checks import whole
from kvlib.footprint import Footprint, fits
from kvlib.operators import plain
from kvlib.parallel import Parallel
from kvlib.phases import decode_step, prefill
from kvlib.quoted import Quoted
from kvlib.roofline import step_time
from kvlib.units import W, s
from kvlib.workload import Transformer

__all__ = ["BY_BATCH", "BY_CONTEXT", "PHASES", "PUBLISHED", "Gpus", "Published", "Served"]

PHASES = ("prefill", "decoding", "end2end")
"""Reading the prompt, writing the answer, and both, as the authors call them."""


@dataclass(frozen=True, eq=False)
class Served:
    """What serving gave, each by phase.

    Parameters
    ----------
    batch : float or array
        Queries served together.
    time : dict of str to float or array
        Time of one query [s].
    rate : dict of str to float or array
        Tokens of all queries for each second, read and written [token/s].
    energy : dict of str to float or array
        Energy of a token [J]; empty where no source states it.
    power : dict of str to float or array
        Power [W]; empty where no source states it.
    """

    batch: Any
    time: dict[str, Any]
    rate: dict[str, Any]
    energy: dict[str, Any] = field(default_factory=dict)
    power: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Published:
    """A100s of 80 GB that the authors measured with vLLM, 512 tokens in and 3,584 out.

    Parameters
    ----------
    gpus : int
        How many.
    rate : dict of str to Quoted
        Tokens a second at the largest batch, by phase [token/s].
    alone : Quoted
        Time of one query alone [s].
    power : Quoted
        Power of the boards at the largest batch [W].
    """

    gpus: int
    rate: dict[str, Quoted]
    alone: Quoted
    power: Quoted

    @property
    def tokens_per_joule(self) -> float:
        """Tokens for each joule, prompt and answer [token/J]."""
        return float(self.rate["end2end"] / self.power)


def _measured(value: float, unit: str) -> Quoted:
    return Quoted(value, source="cent2025repo", basis="measured", unit=unit)


def _published(gpus: int, rates: tuple[float, ...], alone: float, power: float) -> Published:
    return Published(
        gpus,
        {phase: _measured(rate, "token/s") for phase, rate in zip(PHASES, rates, strict=True)},
        _measured(alone * s, "s"),
        _measured(power * W, "W"),
    )


PUBLISHED = {
    "llama-2-7b": _published(1, (12497, 960, 1085), 42.97, 293),
    "llama-2-13b": _published(2, (12913, 953, 1077), 51.47, 577),
    "llama-2-70b": _published(4, (3110, 917, 1006), 127.16, 1107),
}
"""The authors' measurements by model: GPUs, tokens a second, one query alone, power."""

BY_CONTEXT = {
    context: _measured(rate, "token/s")
    for context, rate in ((4096, 917), (8192, 413), (16384, 195), (32768, 89))
}
"""Tokens a second of Llama-2-70B on four A100s while the last 3,584 of a context are written."""

BY_BATCH = {
    batch: _measured(time, "s")
    for batch, time in (
        (1, 127.06), (2, 131.17), (4, 136.01), (8, 149.71), (16, 191.09), (32, 228.14),
        (64, 310.72), (128, 511.30),
    )
}  # fmt: skip
"""Time of a query of Llama-2-70B on four A100s, 512 tokens in and 3,584 out, by batch [s]."""


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """GPUs that share a model by tensor parallelism, with the times of measured kernels.

    Sums of kernels: no host, no scheduling, nothing overlapped. Engines lose some of it.

    Parameters
    ----------
    gpus : int
        How many.
    name : str
        Their card; its kernels must have been measured.
    reserve : float
        Part of each memory kept free of weights and cache; assumed.
    """

    gpus: int
    name: str = "a100-sxm-80gb"
    reserve: float = 0.1

    def __post_init__(self) -> None:
        whole(gpus=self.gpus)

    def memory(self, model: Transformer, *, batch: Any, tokens: Any) -> Footprint:
        """Compare what a batch needs on one GPU with what there is."""
        room = device(self.name).memory().capacity
        return fits(
            model, capacity=room, batch=batch, context=tokens, reserve=self.reserve * room,
            weight_precision="bf16", kv_precision="bf16", parallel=Parallel(tensor=self.gpus),
        )  # fmt: skip

    def largest_batch(self, model: Transformer, *, tokens: Any) -> Any:
        """Queries that fit; 0 if not even the weights do.

        Examples
        --------
        >>> from kvlib import model
        >>> Gpus(gpus=4).largest_batch(model("llama-2-70b"), tokens=4096)
        111
        """
        one = self.memory(model, batch=1, tokens=tokens)
        return plain(np.floor(one.free_for_cache / one.cache).astype(int))

    def serve(
        self, model: Transformer, *, batch: Any, prompt: int = 512, tokens: int = 3584
    ) -> Served:
        """Read a prompt and write an answer for a batch of queries, all at the same step.

        Examples
        --------
        >>> from kvlib import model
        >>> served = Gpus(gpus=4).serve(model("llama-2-70b"), batch=1)
        >>> print(f"{served.time['end2end']:.0f} s, the authors measured 127 s")
        95 s, the authors measured 127 s
        """
        whole(batch=batch, prompt=prompt, tokens=tokens)
        common: dict[str, Any] = {"precision": "bf16", "parallel": Parallel(tensor=self.gpus)}
        gpu, queries = device(self.name), np.asarray(batch)[..., None]
        context = prompt + np.linspace(1, tokens, min(tokens, 32)).round()
        step = decode_step(model, batch=queries, context=context, **common)
        reading = prefill(model, batch=1, prompt=prompt, **common)
        first = batch * step_time(reading, gpu, precision="bf16").total
        then = tokens * np.mean(step_time(step, gpu, precision="bf16").total, axis=-1)
        times = dict(zip(PHASES, (first, then, first + then), strict=True))
        counts = dict(zip(PHASES, (prompt, tokens, prompt + tokens), strict=True))
        return Served(
            batch,
            {phase: plain(time) for phase, time in times.items()},
            {phase: plain(batch * counts[phase] / times[phase]) for phase in PHASES},
        )
