"""Predictions beside measurements: bring a table, learn how far the model is off.

From a shell::

    python -m kvlib.validation measurements.csv

The table's columns say what it is; every row is predicted, none is dropped in silence. A table of
measured kernels gives one line a device, a table of what a published system or its simulator said
(`Runs`) one line a metric; ``--metric NAME`` selects one.

>>> from kvlib.validation import errors
>>> errors(predicted=[1.1, 1.8], measured=[1.0, 2.0]).mean
0.1
"""

from kvlib.validation._kinds import KINDS, Kind, load
from kvlib.validation._report import Errors, errors, report
from kvlib.validation._runs import Compared, NotCovered, Runs, compare
from kvlib.validation._tables import Table, TableError, excerpt, fastest

__all__ = [
    "KINDS",
    "Compared",
    "Errors",
    "Kind",
    "NotCovered",
    "Runs",
    "Table",
    "TableError",
    "compare",
    "errors",
    "excerpt",
    "fastest",
    "load",
    "report",
]
