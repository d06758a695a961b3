"""Kinds of table, recognised by their columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.checks import UnknownName
from kvlib.hardware import UnknownFigure
from kvlib.validation import _attacc, _banks, _cent, _kernels, _neupims, _steps
from kvlib.validation._runs import Runs
from kvlib.validation._tables import (
    Table,
    TableError,
    count,
    header,
    name,
    one_of,
    quantity,
    read,
)

__all__ = ["KINDS", "Kind", "load", "recognise"]

Times = np.ndarray[Any, Any]
"""One time per row [s]."""

Predict = Callable[[Table], Times]
"""From rows that agree in the columns `Kind.together` to their times."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of table.

    Parameters
    ----------
    name : str
        What the table measures.
    columns : dict of str to callable
        Its columns and the reader of each.
    shape : tuple of str
        Columns that say what was run, whatever ran it.
    together : tuple of str
        Columns whose equal rows are predicted in one call.
    groups : tuple of str
        Columns by whose values errors are reported.
    measured : str
        The measured column [s].
    model, roofline : callable
        From such rows to the model's times; to the pure roofline's.
    """

    name: str
    columns: dict[str, Any]
    shape: tuple[str, ...]
    together: tuple[str, ...]
    groups: tuple[str, ...] = ("device",)
    measured: str = "latency_s"
    model: Predict
    roofline: Predict

    def predict(self, table: Table) -> tuple[Times, Times]:
        """Return the model's times of all rows, and the pure roofline's [s]."""
        return self.times(table, self.model), self.times(table, self.roofline)

    def times(self, table: Table, predict: Predict) -> Times:
        """Return times of all rows [s].

        Raises
        ------
        TableError
            If a name is unknown, or a card lacks what the prediction needs.
        """
        found = np.empty(len(table))
        keys = list(zip(*(table[column].tolist() for column in self.together), strict=True))
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        group = np.array([numbers[key] for key in keys])
        for number in numbers.values():
            rows = group == number
            where = f"{table.path}, line {table.lines[rows][0]}"
            try:
                device(str(table["device"][rows][0]))
            except (UnknownName, ValueError) as problem:
                raise TableError(f"{where}, column 'device': {problem}") from None
            try:
                found[rows] = predict(table.take(rows))
            except (UnknownName, UnknownFigure, ValueError) as problem:
                columns = ", ".join(repr(column) for column in self.together)
                raise TableError(f"{where}, columns {columns}: {problem}") from None
        return found


_KERNEL = {"device": name, "kernel": name, "dtype": name, "latency_s": quantity}
_HEADS = dict.fromkeys(_kernels.HEADS, count)

KINDS: tuple[Kind | Runs, ...] = (
    Kind(
        name="gemm",
        columns={**_KERNEL, "m": count, "n": count, "k": count},
        shape=("device", "m", "n", "k", "dtype"),
        together=("device", "dtype"),
        model=_kernels.gemm,
        roofline=_kernels.gemm_roofline,
    ),
    Kind(
        name="decode attention",
        columns={**_KERNEL, **_HEADS, "context": count},
        shape=("device", *_HEADS, "context", "dtype"),
        together=("device", "dtype"),
        model=_kernels.decode_attention,
        roofline=_kernels.decode_attention_roofline,
    ),
    Kind(
        name="latent attention",
        columns={
            **_KERNEL, "batch": count, "heads": count, "kv_rank": count, "rope_dim": count,
            "context": count, "kv_dtype": name,
        },
        shape=(
            "device", "batch", "heads", "kv_rank", "rope_dim", "context", "dtype", "kv_dtype",
        ),
        together=("device", "dtype", "kv_dtype"),
        model=_kernels.latent_attention,
        roofline=_kernels.latent_attention_roofline,
    ),
    Kind(
        name="prefill attention",
        columns={**_KERNEL, **_HEADS, "prompt": count},
        shape=("device", *_HEADS, "prompt", "dtype"),
        together=("device", "dtype"),
        model=_kernels.prefill_attention,
        roofline=_kernels.prefill_attention_roofline,
    ),
    Kind(
        name="collectives",
        columns={
            "device": name, "kernel": name, "collective": one_of(*_steps.COLLECTIVES),
            "ranks": count, "message_bytes": quantity, "latency_s": quantity,
        },
        shape=("device", "collective", "ranks", "message_bytes"),
        together=("device", "collective"),
        groups=("device", "collective"),
        model=_steps.collectives,
        roofline=_steps.collectives_roofline,
    ),
    Kind(
        name="model step",
        columns={
            "device": name, "kernel": name, "model": name, "tensor_parallel": count,
            "phase": one_of("decode", "prefill"), "batch": count, "context": count,
            "latency_s": quantity,
        },
        shape=("device", "model", "tensor_parallel", "phase", "batch", "context"),
        together=("device", "kernel", "model", "tensor_parallel", "phase"),
        groups=("device", "model", "phase"),
        model=_steps.model_step,
        roofline=_steps.model_step_roofline,
    ),
    Kind(
        name="bank attention",
        columns={
            "device": name, "kernel": name, "channels": count, "kv_heads": count,
            "queries": count, "head_dim": count, "context": count, "dtype": name,
            "mac_interval_s": quantity, "latency_s": quantity,
        },
        shape=(
            "device", "channels", "kv_heads", "queries", "head_dim", "context", "dtype",
            "mac_interval_s",
        ),
        together=("device", "channels", "dtype", "mac_interval_s"),
        model=_banks.bank_attention,
        roofline=_banks.bank_attention_roofline,
    ),
    Runs(
        name="attacc",
        run={
            "system": name, "model": name, "lin": count, "lout": count, "batch": count,
            "cycles": name,
        },
        metrics=_attacc.METRICS,
        headline=("tpot",),
        predict=_attacc.predict,
    ),
    Runs(
        name="cent",
        run={
            "system": name, "model": name, "lin": _cent.optional, "lout": _cent.optional,
            "batch": _cent.optional,
        },
        metrics=_cent.METRICS,
        headline=("throughput", "total_latency"),
        predict=_cent.predict,
    ),
    _cent.Wide(
        name="cent by context",
        run={
            "Model": name, "Device number": count, "Pipeline parallelism": count,
            "Tensor parallelism": count, "Channels per device": count,
            "Channels per block": count, "Sequence length": count,
        },
        metrics=_cent.BY_CONTEXT,
        headline=("PIM latency",),
        predict=_cent.by_context,
        prepare=_cent.melt,
    ),
    Runs(
        name="neupims",
        run={"simulator": name, "system": name, "model": name, "batch": count, "status": name},
        metrics=_neupims.METRICS,
        headline=_neupims.HEADLINE,
        predict=_neupims.predict,
        prepare=_neupims.prepare,
    ),
)  # fmt: skip


def recognise(path: Path) -> Kind | Runs:
    """Return the kind of a table by its columns.

    Raises
    ------
    TableError
        If no kind fits; the message says which comes nearest and what it lacks.
    """
    present = set(header(path))
    for kind in KINDS:
        if set(kind.columns) <= present:
            return kind
    nearest = max(KINDS, key=lambda kind: len(present & set(kind.columns)))
    missing = [column for column in nearest.columns if column not in present]
    raise TableError(
        f"{path}, line 1: columns {', '.join(sorted(present))} fit no known kind of table. "
        f"Nearest is {nearest.name!r}, which also needs {', '.join(missing)}."
    )


def load(path: Path) -> tuple[Kind | Runs, Table]:
    """Recognise a table and read it, every cell checked.

    Raises
    ------
    TableError
        If no kind fits or a cell is refused; the message names file, line, column and remedy.

    Examples
    --------
    >>> from kvlib.validation import excerpt
    >>> kind, table = load(excerpt("gemm"))
    >>> kind.name, len(table)
    ('gemm', 56)
    """
    kind = recognise(path)
    return kind, read(path, kind.columns)
