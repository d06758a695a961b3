"""`python -m kvlib.validation`: what it prints for a good table, and how it refuses a bad one."""

import re
import subprocess
import sys

import numpy as np
import pytest

from kvlib.validation import KINDS, TableError, errors, excerpt, fastest, load
from kvlib.validation.__main__ import main

HEADER = "device,kernel,m,n,k,dtype,latency_s"
ROW = "h100-sxm-80gb,gemm/trtllm/1.0.0,1,8192,8192,bf16,4.92e-05"
CLOSING = re.compile(r"MAPE (\d+\.\d) % over (\d+) rows \((\S+) gemm\)")


@pytest.fixture
def table(tmp_path):
    """Return a function that writes lines, or bytes, to a file and returns its path."""

    def write(*lines, name="measured.csv"):
        path = tmp_path / name
        whole = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        path.write_bytes(whole)
        return path

    return write


def run(capsys, *arguments):
    """Return exit status, lines of output and text of errors."""
    status = main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out.splitlines(), shown.err


def closing(lines):
    error, rows, file = CLOSING.fullmatch(lines[-1]).groups()
    return float(error), int(rows), file


# ---- good tables ----------------------------------------------------------------


def test_the_command_as_a_reader_types_it():
    command = [sys.executable, "-m", "kvlib.validation", str(excerpt("gemm"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert CLOSING.fullmatch(done.stdout.splitlines()[-1])


def test_excerpt_by_group_with_the_roofline_beside_it(capsys):
    status, lines, err = run(capsys, excerpt("gemm"))
    assert (status, err) == (0, "")
    assert lines[0].split() == ["group", "n", "mean", "median", "p90", "ratio", "ideal"]
    assert [line.split()[0] for line in lines[1:-1]] == ["a100-sxm-80gb", "h100-sxm-80gb", "all"]
    error, rows, file = closing(lines)
    assert (rows, file) == (56, "gemm.csv")
    assert error <= 7
    assert lines[-2].split()[1:3] == ["56", f"{error}%"]
    assert float(lines[-2].split()[-1].rstrip("%")) > 2 * error


def test_ideal_predicts_by_the_roofline_alone(capsys):
    _, plain, _ = run(capsys, excerpt("gemm"))
    _, ideal, _ = run(capsys, excerpt("gemm"), "--ideal")
    assert f"{closing(ideal)[0]}%" == plain[-2].split()[-1]
    assert ideal[-2].split()[-1] == ideal[-2].split()[2]


def test_ideal_needs_no_measured_kernels(capsys, table):
    path = table(HEADER, "mi300x,gemm,1,8192,8192,bf16,4e-05")
    status, lines, _ = run(capsys, path, "--ideal")
    assert (status, closing(lines)[1]) == (0, 1)
    status, lines, err = run(capsys, path)
    assert (status, lines) == (2, [])
    assert "no measured kernels" in err
    assert "Use `bounds`" in err


def test_against_all_keeps_every_kernel_and_fastest_one_of_each_shape(capsys, table):
    slower = ROW.replace("trtllm", "vllm").replace("4.92", "9.84")
    path = table(HEADER, slower, ROW, ROW.replace(",1,", ",2,"))
    _, kept, _ = run(capsys, path)
    assert closing(kept) == (closing(kept)[0], 2, "measured.csv")
    assert run(capsys, path, "--against", "fastest")[1] == kept
    _, every, _ = run(capsys, path, "--against", "all")
    assert closing(every)[1] == 3
    assert closing(every)[0] > closing(kept)[0] + 10  # half of twice the time is 50 % off


def test_an_exact_prediction_has_no_error(capsys, table):
    # One row, at the time the roofline gives: 2 (1 x 8192 + 8192^2 + 8192) B over 3.35 TB/s.
    seconds = 2 * (8192 + 8192**2 + 8192) / 3.35e12
    path = table(HEADER, ROW.replace("4.92e-05", repr(seconds)))
    assert closing(run(capsys, path, "--ideal")[1])[0] == 0.0


def test_forms_that_spreadsheets_write_are_read(capsys, table):
    expected = run(capsys, table(HEADER, ROW))[1]
    for lines in [
        (b"\xef\xbb\xbf" + HEADER.encode(), ROW),  # byte-order mark
        (HEADER + "\r", ROW + "\r", "\r"),  # Windows line ends, an empty line
        ("note," + HEADER, "mine," + ROW),  # a column more
        (HEADER.replace(",", ", "), ROW.replace(",1,", ", 1.0 ,")),  # spaces, 1.0 for 1
        (HEADER, ROW.replace("gemm/trtllm/1.0.0", '"a, ""kernel"""')),
    ]:
        assert run(capsys, table(*lines))[1] == expected


def test_columns_in_another_order_are_read(table):
    columns, cells = HEADER.split(","), ROW.split(",")
    _, turned = load(table(",".join(columns[::-1]), ",".join(cells[::-1])))
    assert turned["n"].tolist() == [8192]
    assert turned.lines.tolist() == [2]


# ---- bad tables -----------------------------------------------------------------


def bad(cell, text):
    """Return a table whose third line has `text` in the column `cell`."""
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {cell: text}
    return HEADER, ROW, ",".join(cells.values())


BAD = {
    "a column missing": (
        (HEADER.replace("k,dtype", "dtype"), ROW),
        ["line 1", "fit no known kind", "Nearest is 'gemm', which also needs k"],
    ),
    "empty file": ([""], ["line 1", "is empty", "The first line must name the columns"]),
    "empty first line": (["", HEADER, ROW], ["line 1", "is empty"]),
    "header only": ([HEADER], ["line 1", "no row follows", "Add at least one"]),
    "text for a number": (bad("latency_s", "fast"), ["line 3", "'latency_s'", "write digits"]),
    "empty cell": (bad("m", ""), ["line 3", "column 'm'", "is not a number"]),
    "NaN": (bad("latency_s", "nan"), ["line 3", "'latency_s'", "must be finite and above zero"]),
    "infinite": (bad("latency_s", "inf"), ["line 3", "'latency_s'", "must be finite"]),
    "negative": (bad("latency_s", "-1e-5"), ["line 3", "'latency_s'", "above zero"]),
    "zero": (bad("n", "0"), ["line 3", "column 'n'", "must be finite and above zero"]),
    "fractional m": (bad("m", "1.5"), ["line 3", "column 'm'", "must be a whole number"]),
    "endless k": (bad("k", "9" * 30), ["line 3", "column 'k'", "must be at most"]),
    "unknown device": (
        bad("device", "h100-sxm-90gb"),
        ["line 3", "'device'", "Nearest known: h100-sxm-80gb"],
    ),
    "no such card": (bad("device", "my.toml"), ["line 3", "column 'device'", "Check the path"]),
    "unknown dtype": (bad("dtype", "bf61"), ["line 3", "'dtype'", "Nearest known: bf16"]),
    "dtype without a peak": (bad("dtype", "int1"), ["line 3", "'dtype'", "no peak for 'int1'"]),
    "device without a processor": (bad("device", "nvlink4"), ["line 3", "'device'", "states no"]),
    "no name": (bad("kernel", " "), ["line 3", "column 'kernel'", "is empty"]),
    "a column twice": (
        (HEADER + ",m", ROW + ",1"),
        ["line 1", "column 'm' is named twice", "Name each once"],
    ),
    "ragged row": ((HEADER, ROW, ROW + ",1"), ["line 3", "has 8 cells", "stray comma"]),
    "short row": ((HEADER, ROW, ROW[:-9]), ["line 3", "has 6 cells", "line 1 names 7"]),
    "not UTF-8": ((HEADER, ROW, b"h100\xff," + ROW.encode()), ["line 3", "Save it as UTF-8"]),
    "UTF-16": ([(HEADER + "\n" + ROW).encode("utf-16")], ["line 1", "Save it as UTF-8"]),
    "a picture": ([b"\x89PNG\r\n\x1a\n\x00\x00\xff"], ["line 1", "Save it as UTF-8"]),
    "an endless cell": (bad("kernel", "x" * 200_000), ["line 3", "not readable as CSV"]),
}


@pytest.mark.parametrize(("lines", "parts"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_refused_before_anything_is_printed(capsys, table, lines, parts):
    path = table(*lines)
    for options in ([], ["--ideal"], ["--against", "all"]):
        status, out, err = run(capsys, path, *options)
        assert (status, out) == (2, [])
        for part in ["error: ", str(path), *parts]:
            assert part in err
        assert "Traceback" not in err
        assert len(err.splitlines()) == 1


def test_a_path_that_is_no_file_is_refused(capsys, tmp_path):
    for path in (tmp_path, tmp_path / "missing.csv"):
        status, out, err = run(capsys, path)
        assert (status, out) == (2, [])
        assert f"{path}: cannot be read" in err
        assert "Check the path" in err


def test_exit_status_reaches_the_shell(tmp_path):
    command = [sys.executable, "-m", "kvlib.validation", str(tmp_path / "missing.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_wrong_options_print_nothing_to_stdout(capsys):
    for arguments in ([], [str(excerpt("gemm")), "--against", "slowest"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert capsys.readouterr().out == ""


# ---- the parts ------------------------------------------------------------------


def test_errors_by_hand():
    found = errors(predicted=[1.1, 1.8, 3.0], measured=[1.0, 2.0, 2.0])
    assert (found.n, found.mean, found.median) == (3, pytest.approx(0.7 / 3), 0.1)
    assert found.p90 == pytest.approx(0.1 + 0.8 * 0.4)  # linear between the last two
    assert found.ratio == pytest.approx((1.1 * 0.9 * 1.5) ** (1 / 3))


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [
        ([1.0], [1.0, 2.0], "give one of each per row"),
        ([], [], "give one of each per row"),
        ([-1.0], [1.0], "predicted = -1.0 must be"),
        ([1.0], [float("nan")], "measured = nan must be"),
    ],
)
def test_errors_of_what_cannot_be_compared(predicted, measured, message):
    with pytest.raises(ValueError, match=message):
        errors(np.array(predicted), np.array(measured))


def test_fastest_keeps_the_order_of_the_file_and_the_shortest_predictions(table):
    kind, read = load(table(HEADER, *(
        ROW.replace(",1,", f",{m},").replace("4.92e-05", time)
        for m, time in [(7, "3e-5"), (1, "2e-5"), (7, "1e-5"), (1, "4e-5")]
    )))  # fmt: skip
    kept, (predicted,) = fastest(read, kind.shape, kind.measured, np.array([4.0, 3.0, 2.0, 1.0]))
    assert kept["m"].tolist() == [7, 1]
    assert kept["latency_s"].tolist() == [1e-5, 2e-5]
    assert kept.lines.tolist() == [4, 3]
    assert predicted.tolist() == [2.0, 1.0]


def test_every_kind_names_columns_that_it_reads():
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert {*kind.shape, kind.measured} <= set(kind.columns)


def test_loading_raises_what_the_command_prints(table):
    with pytest.raises(TableError, match=r"line 3, column 'm': = '0' must be finite and above"):
        load(table(*bad("m", "0")))
