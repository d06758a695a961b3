"""The count at the end of `make test` is true, and no failure can hide behind it."""

import sys

import check as runner
import pytest
from check import Check, Result

REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("tests", "status", "expected"),
    [
        ((7, 0, 0, 2), 0, (5, 0, 2)),
        ((7, 1, 2, 0), 1, (4, 3, 0)),
        ((0, 0, 0, 0), 5, (0, 1, 0)),  # nothing was collected
        ((3, 0, 0, 0), 3, (3, 1, 0)),  # ended in error, no test to blame
    ],
)
def test_count_of_a_report(tmp_path, tests, status, expected):
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(*tests))
    assert runner.count(report, status) == expected


def test_no_report_is_a_failure(tmp_path):
    assert runner.count(tmp_path / "none.xml", 0) == (0, 1, 0)


def test_failures_are_shown_and_what_builds_on_them_is_not_run(tmp_path, capsys):
    fails = Check("book", (sys.executable, "-c", "print('planted'); raise SystemExit(3)"))
    depends = Check("pages", (sys.executable, "-c", "print('never')"), after="book")
    passes = Check("lint", (sys.executable, "-c", "print('quiet')"))
    results = runner.run_all((fails, depends, passes), 2, runner.show)
    assert [result.failed for result in results] == [1, 1, 0]
    assert runner.closing_line(results) == "1 passed, 2 failed"
    shown = capsys.readouterr().out
    assert "planted" in shown
    assert "not run, because book failed" in shown
    assert "never" not in shown
    assert "quiet" not in shown


def test_closing_line_says_what_was_skipped():
    result = Result(runner.CHECKS[0], 3, 0, 2, 0.1, "")
    assert runner.closing_line([result, result]) == "6 passed, 0 failed, 4 skipped"


def test_unknown_check_is_an_error(capsys):
    with pytest.raises(SystemExit):
        runner.main(["lints"])
    assert "known: book, notebooks" in capsys.readouterr().err
