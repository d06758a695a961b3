"""Compare a table of measurements with the model: ``python -m kvlib.validation FILE.csv``."""

import argparse
import sys
from pathlib import Path

import numpy as np

from kvlib.checks import UnknownName
from kvlib.validation._kinds import load
from kvlib.validation._report import errors, report
from kvlib.validation._runs import Runs, compare
from kvlib.validation._tables import Table, TableError, fastest


def main(arguments: list[str] | None = None) -> int:
    """Print the errors of every group and one closing line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kvlib.validation", description=__doc__)
    parser.add_argument("file", type=Path, help="table of measurements; its columns say of what")
    parser.add_argument(
        "--against",
        choices=["fastest", "all"],
        default="fastest",
        help="keep the fastest kernel of each shape (a slower one speaks of software), or all",
    )
    parser.add_argument("--ideal", action="store_true", help="predict by the pure roofline alone")
    parser.add_argument("--metric", help="compare one metric only, of a table that holds several")
    options = parser.parse_args(arguments)
    try:
        kind, table = load(options.file)
        if isinstance(kind, Runs):
            if options.ideal:
                raise TableError(
                    f"{options.file}: runs of a system have no roofline. Leave --ideal."
                )
            return runs(kind, table, options.metric)
        if options.metric is not None:
            raise TableError(f"{options.file}: {kind.name} tables hold one metric. Leave --metric.")
        ideal = kind.times(table, kind.roofline)
        predicted = ideal if options.ideal else kind.times(table, kind.model)
    except TableError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    if options.against == "fastest":
        table, (predicted, ideal) = fastest(table, kind.shape, kind.measured, predicted, ideal)
    measured = table[kind.measured]
    groups = {
        key: table[column] == key
        for column in kind.groups
        for key in dict.fromkeys(table[column].tolist())
    }
    groups["all"] = np.ones(len(table), bool)
    for line in report(groups, predicted, measured, ideal):
        print(line)
    mape = 100 * errors(predicted, measured).mean
    print(f"MAPE {mape:.1f} % over {len(table)} rows ({options.file.name} {kind.name})")
    return 0


def runs(kind: Runs, table: Table, metric: str | None) -> int:
    """Print the errors of each metric of a published system and one closing line."""
    try:
        found = compare(kind, table, metric)
    except UnknownName as problem:
        raise TableError(f"{table.path}, column 'metric': {problem}") from None
    for line in found.lines():
        print(line)
    present = list(dict.fromkeys(found.metric.tolist()))
    if not present:
        print(f"error: {table.path}: the model covers none of its rows.", file=sys.stderr)
        return 2
    headline = [each for each in kind.headline if each in present]
    closing = headline if headline and len(present) > 1 else present
    last = found.errors(*closing)
    what = f"{table.path.name} {kind.name} {', '.join(closing)}"
    print(f"MAPE {100 * last.mean:.1f} % over {last.n} rows ({what})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
