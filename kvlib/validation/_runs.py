"""Tables of runs: what a published system or its simulator said, one row for each metric of a run.

A `Runs` kind says which columns name a run and predicts all metrics of a run at once, in SI. To
teach the program another system, write a module with such a function (as `_attacc` does) and add a
`Runs` to `KINDS`; recognising, grouping, units and the report are done here.

Nothing is dropped in silence: rows that the model does not cover are counted and named with the
reason, and so are rows where either side is zero, which have no relative error.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kvlib.checks import UnknownName, choose
from kvlib.hardware import UnknownFigure
from kvlib.units import parse
from kvlib.validation._report import Errors, errors
from kvlib.validation._tables import Table, TableError, amount, name

__all__ = ["Compared", "NotCovered", "Runs", "compare"]


class NotCovered(ValueError):
    """A run that the model cannot be asked for; the message says why."""


def _as_it_stands(table: Table) -> Table:
    """Return the table unchanged."""
    return table


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A kind of table with a row for each metric of a run.

    Parameters
    ----------
    name : str
        What it holds.
    run : dict of str to callable
        Columns that name a run, and the reader of each.
    metrics : dict of str to str
        Metrics the model predicts, and the dimension of each, as in ``"B/s"``.
    headline : tuple of str
        Metrics of the closing line.
    predict : callable
        From the cells of a run to its metrics in SI; raises `NotCovered`, or any `ValueError`,
        `UnknownName` or `UnknownFigure`, with the reason.
    prepare : callable, optional
        From a table as it stands to one whose metrics the kind knows; it may add a column ``"key"``
        that says which of several answers to a metric a row asks for.
    """

    name: str
    run: Mapping[str, Any]
    metrics: Mapping[str, str]
    headline: tuple[str, ...]
    predict: Callable[[dict[str, Any]], Mapping[str, float]]
    prepare: Callable[[Table], Table] = _as_it_stands

    measured = "value"

    @property
    def columns(self) -> dict[str, Any]:
        """All columns and their readers."""
        return {**self.run, "metric": name, "value": amount, "unit": name}

    @property
    def shape(self) -> tuple[str, ...]:
        """Columns that say what was run and what of it."""
        return (*self.run, "metric")


@dataclass(frozen=True)
class Compared:
    """Rows of a table beside the model.

    Parameters
    ----------
    metric : array of str, shape (n,)
        Metric of each row that has a relative error.
    predicted, measured : array of float, shape (n,)
        Model and table, in SI.
    zeros : Counter of str
        Rows by metric where both are zero.
    half_zeros : Counter of str
        Rows by metric where only one of them is.
    uncovered : Counter of str
        Rows that the model does not cover, by reason.
    """

    metric: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    measured: np.ndarray[Any, Any]
    zeros: Counter[str] = field(default_factory=Counter)
    half_zeros: Counter[str] = field(default_factory=Counter)
    uncovered: Counter[str] = field(default_factory=Counter)

    def errors(self, *metrics: str) -> Errors:
        """Errors over the rows of some metrics.

        Raises
        ------
        ValueError
            If there are none.
        """
        rows = np.isin(self.metric, metrics)
        return errors(self.predicted[rows], self.measured[rows])

    def lines(self) -> Iterator[str]:
        """Lines of the report: one for each metric, then what has no error."""
        present = list(dict.fromkeys(self.metric.tolist()))
        width = max([len("metric"), *map(len, present)])
        titles = f"{'n':>6}  {'mean':>7}  {'median':>7}  {'p90':>7}  {'p95':>7}  {'ratio':>6}"
        yield f"{'metric':{width}}  {titles}"
        for each in present:
            line = self.errors(each)
            yield (
                f"{each:{width}}  {line.n:6d}  {line.mean:7.2%}  {line.median:7.2%}"
                f"  {line.p90:7.2%}  {line.p95:7.2%}  {line.ratio:6.3f}"
            )
        for title, rows in (
            ("zero in the table and in the model", self.zeros),
            ("zero in one of them only", self.half_zeros),
            ("not covered", self.uncovered),
        ):
            if rows:
                named = "; ".join(f"{what} ({count})" for what, count in rows.items())
                yield f"{title}: {rows.total()} rows: {named}"


def compare(kind: Runs, table: Table, metric: str | None = None) -> Compared:
    """Predict every row of a table, or those of one metric.

    Raises
    ------
    UnknownName
        If the table has no such metric.
    TableError
        If a unit does not measure its metric.
    """
    table = kind.prepare(table)
    if metric is not None:
        choose(metric, dict.fromkeys(table["metric"].tolist()), "metric of the table")
        table = table.take(table["metric"] == metric)
    keys = table["key" if "key" in table.columns else "metric"]
    known: dict[tuple[Any, ...], Mapping[str, float] | str] = {}
    kept: list[tuple[str, float, float]] = []
    found = Compared(np.array([]), np.array([]), np.array([]))
    for row, line in enumerate(table.lines):
        cells = {column: table[column][row].item() for column in kind.run}
        what, unit = str(table["metric"][row]), str(table["unit"][row])
        if what not in kind.metrics:
            found.uncovered[f"metric {what!r}"] += 1
            continue
        measured = float(table["value"][row]) * _factor(table, line, unit, kind.metrics[what])
        key = tuple(cells.values())
        if key not in known:
            known[key] = _predict(kind, cells)
        prediction = known[key]
        if isinstance(prediction, str):
            found.uncovered[prediction] += 1
            continue
        predicted = prediction[str(keys[row])]
        if measured and predicted:
            kept.append((what, predicted, measured))
        else:
            (found.half_zeros if measured or predicted else found.zeros)[what] += 1
    names, predictions, measurements = zip(*kept, strict=True) if kept else ((), (), ())
    return Compared(
        np.array(names), np.array(predictions), np.array(measurements),
        found.zeros, found.half_zeros, found.uncovered,
    )  # fmt: skip


def _predict(kind: Runs, cells: dict[str, Any]) -> Mapping[str, float] | str:
    """Metrics of a run, or the reason why there are none."""
    try:
        return kind.predict(cells)
    except (NotCovered, UnknownName, UnknownFigure, ValueError) as problem:
        return f"{', '.join(map(str, cells.values()))}: {problem}"


def _factor(table: Table, line: int, unit: str, dimension: str) -> float:
    """What one such unit is in SI."""
    try:
        factor, found = parse(unit.replace("tokens", "token"))
    except ValueError as problem:
        raise TableError(f"{table.path}, line {line}, column 'unit': {problem}") from None
    if found != dimension:
        raise TableError(
            f"{table.path}, line {line}, column 'unit': {unit!r} measures {found}, but this metric "
            f"is in {dimension}."
        )
    return factor
