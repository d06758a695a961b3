"""Stages of NeuPIMs: the NPU on one sub-batch while the PIM channels attend for the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from kvlib.schedule import Plan, Stage, parallel, repeat, serial

__all__ = ["Run", "StageRun"]


_KINDS = {
    "attention_norm": "QKV", "qkv_projection": "QKV", "attention": "MHA",
    "scores": "MHA", "outputs": "MHA",
}  # fmt: skip


@dataclass(frozen=True)
class StageRun:
    """One stage: two lists of operators that start together, and wait for each other at the end.

    Parameters
    ----------
    name : str
        Letter of the stage.
    npu, pim : mapping of str to float
        Operators in order, and the time of each as if alone [s].
    stalls : tuple of float
        Part of its time that the NPU loses while the units do scores, and outputs.
    together : bool
        Whether both may use a bank at the same time; if not, the PIM goes first.
    posted : mapping of str to float
        Time in which results of each of the NPU's operators drain to memory: it counts where units
        work, because there the controller has no gaps for them [s].
    tokens : int
        Requests that the NPU works on.

    Examples
    --------
    >>> work = {"fc1": 30e-6, "fc2": 40e-6}
    >>> shared = StageRun("C", work, {"scores": 20e-6, "outputs": 10e-6}, (0.25, 0.5))
    >>> [round(time * 1e6) for time in shared.npu_times.values()]
    [40, 40]
    """

    name: str
    npu: Mapping[str, float]
    pim: Mapping[str, float]
    stalls: tuple[float, float] = (0.0, 0.0)
    together: bool = True
    posted: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0

    @cached_property
    def npu_times(self) -> dict[str, float]:
        """Time of each of the NPU's operators beside what the units do at the same time [s]."""
        if not self.together or not self.pim:
            return dict(self.npu)
        ends = np.cumsum([*self.pim.values()]).tolist()
        clock, found = 0.0, {}
        for name, work in self.npu.items():
            begin = clock
            if clock < ends[-1]:
                work += self.posted.get(name, 0.0)
            for end, stall in zip(ends, self.stalls, strict=True):
                done = min(work, max(end - clock, 0.0) * (1 - stall))
                work -= done
                clock += done / (1 - stall)
            clock += work
            found[name] = clock - begin
        return found

    def plan(self) -> Plan:
        """Return the stage as a schedule of the resources ``"NPU"`` and ``"PIM"``."""
        npu = [Stage(name, "NPU", time) for name, time in self.npu_times.items()]
        pim = [Stage(name, "PIM", time) for name, time in self.pim.items()]
        if not (npu and pim):
            return serial(*npu, *pim)
        if self.together:
            return parallel(serial(*npu), serial(*pim))
        return serial(*pim, *npu)

    def outline(self) -> Plan:
        """Return the schedule with operators of a kind as one, to be drawn.

        What is called FFN begins with the output projection.
        """
        drawn: list[list[Plan]] = []
        for resource, times in (("NPU", self.npu_times), ("PIM", dict(self.pim))):
            merged: dict[str, float] = {}
            for name, time in times.items():
                kind, number = name.rsplit(" ", 1)
                label = _KINDS.get(kind, "FFN") + (f" {number}" if number in "12" else "")
                merged[label] = merged.get(label, 0.0) + time
            drawn.append([Stage(name, resource, time) for name, time in merged.items()])
        npu, pim = drawn
        if npu and pim and self.together:
            return parallel(serial(*npu), serial(*pim))
        return serial(*pim, *npu)

    @cached_property
    def time(self) -> float:
        """Time of the stage [s]."""
        npu, pim = sum(self.npu_times.values()), sum(self.pim.values())
        return max(npu, pim) if self.together else npu + pim


@dataclass(frozen=True)
class Run:
    """A batch through some layers: stages to begin with, stages for each layer, stages to end.

    Parameters
    ----------
    first, layer, last : tuple of StageRun
        Stages that come once, once for each layer but the last, and once.
    layers : int
        Layers.
    tokens : int
        Requests in the batch, each of which gets one token.
    assumptions : tuple of str
        What had to be assumed.
    """

    first: tuple[StageRun, ...]
    layer: tuple[StageRun, ...]
    last: tuple[StageRun, ...]
    layers: int
    tokens: int
    assumptions: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[StageRun, ...]:
        """Stages in order, those that repeat once only."""
        return (*self.first, *(self.layer if self.layers > 1 else ()), *self.last)

    def plan(self) -> Plan:
        """Return the schedule of the whole run.

        Its utilisation says how long each resource had something to do, stalls included.
        """
        parts = [stage.plan() for stage in self.first]
        if self.layers > 1:
            parts.append(repeat(serial(*(each.plan() for each in self.layer)), self.layers - 1))
        return serial(*parts, *(stage.plan() for stage in self.last))

    def outline(self) -> Plan:
        """Return the schedule of the stages, each once and in few pieces, to be drawn.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.neupims import neupims
        >>> run = neupims(sub_batches="always").decode(model("gpt-3-6.7b"), [376] * 256)
        >>> print(*[bar.stage for bar in run.outline().gantt()[:4]], sep=", ")
        QKV 1, QKV 2, MHA 1, FFN 1
        """
        return serial(*(stage.outline() for stage in self.stages))

    @property
    def time(self) -> float:
        """Time of the run [s]."""
        once = sum(stage.time for stage in (*self.first, *self.last))
        return once + (self.layers - 1) * sum(stage.time for stage in self.layer)

    @property
    def throughput(self) -> float:
        """Tokens in a second of one pipeline stage [token/s]."""
        return self.tokens / self.time
