"""Kinds of table, recognised by their columns, and how each row is predicted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kvlib.attention import AttentionShape, attend
from kvlib.catalogue import device
from kvlib.checks import UnknownName
from kvlib.hardware import Device, UnknownFigure
from kvlib.operators import Work, gemm
from kvlib.precision import itemsize
from kvlib.roofline import bounds, decode_attention_time, gemm_time, prefill_attention_time
from kvlib.validation._tables import Table, TableError, count, header, name, quantity, read

__all__ = ["KINDS", "Kind", "load", "recognise"]


Times = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""The model's times and the pure roofline's, one of each per row [s]."""


@dataclass(frozen=True)
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
    measured : str
        The measured column [s].
    predict : callable
        From a table to two arrays: the model's times and the pure roofline's [s].
    """

    name: str
    columns: dict[str, Any]
    shape: tuple[str, ...]
    measured: str
    predict: Callable[[Table], Times]


def _by_device(table: Table, predict: Callable[[Device, str, Table], Times]) -> Times:
    """Predict the rows of each device and precision together."""
    model, ideal = np.empty(len(table)), np.empty(len(table))
    for key in dict.fromkeys(zip(table["device"].tolist(), table["dtype"].tolist(), strict=True)):
        rows = (table["device"] == key[0]) & (table["dtype"] == key[1])
        try:
            model[rows], ideal[rows] = predict(device(key[0]), key[1], table.take(rows))
        except (UnknownName, UnknownFigure, ValueError) as problem:
            line = table.lines[rows][0]
            raise TableError(f"{table.path}, line {line}: {problem}") from None
    return model, ideal


def _gemm(table: Table) -> Times:
    def predict(hardware: Device, precision: str, rows: Table) -> Times:
        m, n, k = rows["m"], rows["n"], rows["k"]
        work = gemm(m, n, k, element_bytes=itemsize(precision))
        model = gemm_time(hardware, m=m, n=n, k=k, precision=precision)
        return model, bounds(work, hardware, precision).lower

    return _by_device(table, predict)


def _attend(rows: Table, precision: str, context: Any, queries: Any) -> Work:
    width: Any = rows["head_dim"]
    shape = AttentionShape(
        batch=rows["batch"],
        queries=queries,
        context=context,
        heads=rows["heads"],
        kv_heads=rows["kv_heads"],
        key_dim=width,
        value_dim=width,
    )
    size = itemsize(precision)
    return attend(shape, element_bytes=size, kv_bytes=size)


_HEADS = ("batch", "heads", "kv_heads", "head_dim")


def _decode_attention(table: Table) -> Times:
    def predict(hardware: Device, precision: str, rows: Table) -> Times:
        shape: dict[str, Any] = {column: rows[column] for column in (*_HEADS, "context")}
        shape |= {"precision": precision, "warm": True}
        vllm = decode_attention_time(hardware, **shape, library="vllm")
        tensorrt = decode_attention_time(hardware, **shape, library="tensorrt-llm")
        work = _attend(rows, precision, rows["context"], queries=1)
        model = np.where(np.char.find(rows["kernel"], "trtllm") >= 0, tensorrt, vllm)
        return model, bounds(work, hardware, precision).lower

    return _by_device(table, predict)


def _prefill_attention(table: Table) -> Times:
    def predict(hardware: Device, precision: str, rows: Table) -> Times:
        shape: dict[str, Any] = {column: rows[column] for column in (*_HEADS, "prompt")}
        model = prefill_attention_time(hardware, **shape, precision=precision)
        work = _attend(rows, precision, rows["prompt"], queries=rows["prompt"])
        return model, bounds(work, hardware, precision).lower

    return _by_device(table, predict)


_RUN = {"device": name, "kernel": name, "dtype": name, "latency_s": quantity}
_COUNTS = dict.fromkeys(_HEADS, count)

KINDS: tuple[Kind, ...] = (
    Kind(
        name="gemm",
        columns={**_RUN, "m": count, "n": count, "k": count},
        shape=("device", "m", "n", "k", "dtype"),
        measured="latency_s",
        predict=_gemm,
    ),
    Kind(
        name="decode attention",
        columns={**_RUN, **_COUNTS, "context": count},
        shape=("device", *_HEADS, "context", "dtype"),
        measured="latency_s",
        predict=_decode_attention,
    ),
    Kind(
        name="prefill attention",
        columns={**_RUN, **_COUNTS, "prompt": count},
        shape=("device", *_HEADS, "prompt", "dtype"),
        measured="latency_s",
        predict=_prefill_attention,
    ),
)


def recognise(path: Path) -> Kind:
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


def load(path: Path) -> tuple[Kind, Table]:
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
