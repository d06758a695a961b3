"""Tables of measurements: CSV files checked cell by cell before anything is computed."""

import codecs
import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from kvlib.checks import choose

__all__ = [
    "Table",
    "TableError",
    "amount",
    "count",
    "excerpt",
    "fastest",
    "name",
    "one_of",
    "quantity",
    "read",
]

Columns = dict[str, np.ndarray[Any, Any]]

_LARGEST_COUNT = 10**12


class TableError(ValueError):
    """A table that cannot be used; the message names file, line, column, rule and remedy."""


@dataclass(frozen=True)
class Table:
    """A checked table: columns as arrays, and the line of the file each row came from."""

    path: Path
    columns: Columns
    lines: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, column: str) -> np.ndarray[Any, Any]:
        return self.columns[column]

    def take(self, rows: Any) -> "Table":
        """Return the table with these rows only."""
        columns = {key: values[rows] for key, values in self.columns.items()}
        return Table(self.path, columns, self.lines[rows])


def name(text: str) -> str:
    """Read a name: any text that is not empty."""
    if not text.strip():
        raise ValueError("is empty, but a name is needed")
    return text.strip()


def one_of(*words: str) -> Callable[[str], str]:
    """Make a reader of one of a few words."""

    def read(text: str) -> str:
        if text.strip() not in words:
            raise ValueError(f"= {text!r} must be one of {', '.join(words)}")
        return text.strip()

    return read


def count(text: str) -> int:
    """Read a whole number above zero."""
    number = quantity(text)
    if number != int(number):
        raise ValueError(f"= {text!r} must be a whole number: it counts things")
    if number > _LARGEST_COUNT:
        raise ValueError(f"= {text!r} must be at most {_LARGEST_COUNT}: more is surely a slip")
    return int(number)


def quantity(text: str) -> float:
    """Read a finite number above zero."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"= {text!r} is not a number: write digits, such as 1.5e-05") from None
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"= {text!r} must be finite and above zero")
    return number


def amount(text: str) -> float:
    """Read a finite number that is not negative."""
    try:
        zero = float(text) == 0
    except ValueError:
        zero = False
    return 0.0 if zero else quantity(text)


def header(path: Path) -> list[str]:
    """Return the column names of a CSV file.

    Raises
    ------
    TableError
        If the file cannot be read, is empty, or names a column twice.
    """
    with _opened(path) as file:
        try:
            columns = [column.strip() for column in next(csv.reader(file), [])]
        except csv.Error as problem:
            raise TableError(f"{path}, line 1: is not readable as CSV ({problem}).") from None
    if not any(columns):
        raise TableError(f"{path}, line 1: is empty. The first line must name the columns.")
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise TableError(f"{path}, line 1: column {twice[0]!r} is named twice. Name each once.")
    return columns


def read(path: Path, types: dict[str, Any]) -> Table:
    """Read the columns in `types`, each with its own reader.

    Raises
    ------
    TableError
        For a missing column, a short or long row, a cell its reader refuses, or no rows at all.
    """
    present = header(path)
    missing = [column for column in types if column not in present]
    if missing:
        raise TableError(
            f"{path}, line 1: column {missing[0]!r} is missing. "
            f"Needed: {', '.join(types)}; found: {', '.join(present)}."
        )
    cells: dict[str, list[Any]] = {column: [] for column in types}
    lines = []
    with _opened(path) as file:
        rows = csv.reader(file)
        next(rows)
        try:
            for row in rows:
                if not row:
                    continue
                if len(row) != len(present):
                    raise TableError(
                        f"{path}, line {rows.line_num}: has {len(row)} cells, "
                        f"but line 1 names {len(present)} columns. Check for a stray comma."
                    )
                _add(path, rows.line_num, dict(zip(present, row, strict=True)), types, cells)
                lines.append(rows.line_num)
        except csv.Error as problem:
            where = f"{path}, line {rows.line_num}"
            raise TableError(f"{where}: is not readable as CSV ({problem}).") from None
    if not lines:
        raise TableError(
            f"{path}, line 1: is the header, and no row follows. Add at least one measurement."
        )
    return Table(path, {key: np.array(value) for key, value in cells.items()}, np.array(lines))


def _add(
    path: Path, line: int, row: dict[str, str], types: dict[str, Any], cells: dict[str, list[Any]]
) -> None:
    for column, reader in types.items():
        try:
            cells[column].append(reader(row[column]))
        except ValueError as problem:
            raise TableError(f"{path}, line {line}, column {column!r}: {problem}.") from None


def excerpt(name: str) -> Path:
    """Path of a table that the project quotes from a published measurement, such as ``"gemm"``.

    Its column ``source`` holds the bibliography key of whoever measured each row.

    Raises
    ------
    UnknownName
        If the project quotes no such table.
    """
    folder = Path(str(files("kvlib.validation"))) / "excerpts"
    known = sorted(path.stem for path in folder.glob("*.csv"))
    return folder / f"{choose(name, known, 'excerpt')}.csv"


def _opened(path: Path) -> io.StringIO:
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as problem:
        raise TableError(f"{path}: cannot be read ({problem.strerror}). Check the path.") from None
    try:
        return io.StringIO(content.decode(), newline="")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise TableError(f"{path}, line {line}: is not UTF-8 text. Save it as UTF-8.") from None


def fastest(
    table: Table, shape: Iterable[str], measured: str, *predicted: np.ndarray[Any, Any]
) -> tuple[Table, list[np.ndarray[Any, Any]]]:
    """Keep the fastest row of each shape: a slower kernel speaks of software, not hardware.

    Parameters
    ----------
    table : Table
        Measurements, several kernels to a shape.
    shape : iterable of str
        Columns that say what was run, whatever ran it.
    measured : str
        The measured column.
    *predicted : array of float, shape (rows,)
        Predictions of every row; of each shape the shortest is kept, because no prediction may know
        which kernel won.

    Returns
    -------
    table : Table
        The fastest row of each shape, in the order of the file.
    predicted : list of array
        The shortest predictions of the same shapes.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    keys = zip(*(table[column].tolist() for column in shape), strict=True)
    group = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    order = np.lexsort((table[measured], group))
    best = order[np.unique(group[order], return_index=True)[1]]
    shortest = []
    for values in predicted:
        least = np.full(len(numbers), np.inf)
        np.minimum.at(least, group, values)
        shortest.append(least)
    return table.take(best), shortest
