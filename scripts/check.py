"""Run every check of the project, two or more at a time, and count what passed and what failed.

The last line is ``N passed, N failed``, with ``, N skipped`` behind it when something was skipped.
It counts each test, and each check that is no test (lint, types, ...) as one.
"""

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "_build" / "reports"
BIN = Path(sys.executable).parent
SKIP = "SKIPPED ["  # how pytest begins the line that says why a test was skipped
NOTHING_COLLECTED = 5  # pytest's exit status when it found no test


@dataclass(frozen=True)
class Check:
    """A command to run; `is_tests` says that it is pytest, `after` what must have passed before."""

    name: str
    command: tuple[str, ...]
    is_tests: bool = False
    after: str = ""


@dataclass(frozen=True)
class Result:
    """What came of a check."""

    check: Check
    passed: int
    failed: int
    skipped: int
    seconds: float
    output: str


def pytest(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs pytest with `arguments`."""
    return (sys.executable, "-m", "pytest", "--quiet", *arguments)


NBVAL = ("--nbval", "--nbval-cell-timeout=600", "--nbval-kernel-name=python3")
SHARED_OUT = ("-n", "2", "--dist", "loadfile")  # a chapter stays in one process: it has one kernel
BY_PAGE = ("-n", "2", "--dist", "worksteal")  # neighbouring tests share a page: halves, not turns
BROWSER = "tests/browser"
GUARDS = "tests/test_guards_bite.py"  # builds small books: slow, and needs nothing of the others
# The longest first, so that they share the cores.
CHECKS = (
    Check("book", (sys.executable, "scripts/build_book.py", "--fresh")),
    Check("notebooks", pytest(*NBVAL, *SHARED_OUT, "notebooks"), is_tests=True),
    Check("guards", pytest(GUARDS), is_tests=True),
    Check("unit", pytest("-m", "not book and not browser", f"--ignore={GUARDS}"), is_tests=True),
    Check("types", (str(BIN / "mypy"),)),
    Check("layers", (str(BIN / "lint-imports"),)),
    Check("lint", (str(BIN / "ruff"), "check")),
    Check("pages", pytest("-m", "book", "tests/test_built_book.py"), is_tests=True, after="book"),
    Check("browser", pytest("-m", "browser", *BY_PAGE, BROWSER), is_tests=True, after="book"),
)
# The name that `make` gives a check, where it is another: `make notebooks` stores outputs.
ALIASES = {"check-notebooks": "notebooks"}


def run(check: Check) -> Result:
    """Run `check` and count its tests."""
    report = REPORTS / f"{check.name}.xml"
    report.unlink(missing_ok=True)
    command = [*check.command, f"--junitxml={report}"] if check.is_tests else [*check.command]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "KVLIB_WIDGETS": "page"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.perf_counter() - start
    if not check.is_tests:
        failed = int(done.returncode != 0)
        return Result(check, 1 - failed, failed, 0, seconds, done.stdout)
    output = done.stdout
    if done.returncode == NOTHING_COLLECTED:
        output += f"\nNo test was found for {check.name}: that counts as a failure.\n"
    return Result(check, *count(report, done.returncode), seconds, output)


def count(report: Path, status: int) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped by pytest's `report`.

    A run that ended in error counts at least one failure, also when no test could be blamed for it.
    """
    if not report.exists():
        return 0, 1, 0
    suites = list(ElementTree.parse(report).iter("testsuite"))
    tests, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return max(tests - failed - skipped, 0), failed or int(status != 0), skipped


def show(result: Result, *, width: int = 10) -> None:
    """Print one line for a check that passed, and the whole output of one that did not."""
    mark = "FAILED" if result.failed else "ok"
    counted = f"{result.passed:5d} passed" + (f", {result.failed} failed" if result.failed else "")
    counted += f", {result.skipped} skipped" if result.skipped else ""
    if result.failed:
        print(f"\n---- {result.check.name} " + "-" * 80)
        print(result.output.rstrip())
        print("-" * 90)
    print(f"{mark:6s}  {result.check.name:{width}s} {result.seconds:6.1f} s  {counted}", flush=True)
    reasons = {line.partition(": ")[2] for line in result.output.splitlines() if SKIP in line}
    for reason in sorted(reasons):
        print(f"        skipped: {reason}", flush=True)


def run_all(checks: tuple[Check, ...], jobs: int, each: Callable[[Result], None]) -> list[Result]:
    """Run `checks`, at most `jobs` at a time, and hand each result to `each` as it comes."""
    results: dict[str, Result] = {}
    names = {check.name for check in checks}
    waiting, running = list(checks), set[Future[Result]]()
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            ready = [c for c in waiting if c.after not in names or c.after in results]
            for check in ready[: jobs - len(running)]:
                waiting.remove(check)
                before = results.get(check.after)
                if before and before.failed:
                    note = f"not run, because {check.after} failed\n"
                    results[check.name] = Result(check, 0, 1, 0, 0.0, note)
                    each(results[check.name])
                else:
                    running.add(pool.submit(run, check))
            if running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    results[future.result().check.name] = future.result()
                    each(future.result())
    return [results[check.name] for check in checks]


def closing_line(results: list[Result]) -> str:
    """Return the line that counts everything."""
    passed, failed, skipped = (
        sum(getattr(result, key) for result in results) for key in ("passed", "failed", "skipped")
    )
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    known = [check.name for check in CHECKS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checks", nargs="*", help=f"some of: {', '.join(known)}; else all")
    parser.add_argument("--jobs", type=int, default=max(2, min(os.cpu_count() or 2, 4)))
    options = parser.parse_args(arguments)
    wanted = {ALIASES.get(name, name) for name in options.checks} or set(known)
    if unknown := wanted - set(known):
        parser.error(f"unknown checks {sorted(unknown)}; known: {', '.join(known)}")
    if wanted & {"pages", "browser"}:
        wanted.add("book")
    REPORTS.mkdir(parents=True, exist_ok=True)
    checks = tuple(check for check in CHECKS if check.name in wanted)
    results = run_all(checks, max(1, options.jobs), show)
    print(f"\n{closing_line(results)}")
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
