"""What every module of kvlib keeps: names that exist, docstrings that tell the truth, few needs."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import kvlib

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(kvlib.__path__, "kvlib.")
    if not module.name.endswith("__main__")
)
NEED_MORE_THAN_NUMPY = (
    "kvlib.placement._program", "kvlib.plotting", "kvlib.sweep", "kvlib.widgets",
)  # fmt: skip
OPTIONAL = ("xarray", "scipy", "pandas", "matplotlib", "ipywidgets", "IPython", "threadpoolctl")


def public(module):
    """Return the public classes and functions that a module defines itself, by qualified name."""
    found = {}
    for name in module.__all__:
        thing = getattr(module, name, None)  # the next test tells of a name that is missing
        if getattr(thing, "__module__", "").startswith("kvlib") and callable(thing):
            found[f"{thing.__module__}.{name}"] = thing
    return found


def members(thing):
    """Return the public methods and properties that a class defines itself."""
    for name, member in vars(thing).items():
        if not name.startswith("_"):
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            if inspect.isroutine(function) or isinstance(function, classmethod | staticmethod):
                yield name, getattr(function, "__func__", function)


THINGS = {}
for _module in MODULES:
    THINGS |= public(importlib.import_module(_module))


def test_there_are_modules_and_things():
    assert len(MODULES) > 20
    assert len(THINGS) > 50


@pytest.mark.parametrize("name", ["kvlib", *MODULES])
def test_module_says_what_it_is_and_what_it_offers(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()
    assert len(set(module.__all__)) == len(module.__all__) > 0
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    assert not missing
    assert not [entry for entry in module.__all__ if entry.startswith("_")]


@pytest.mark.parametrize("name", THINGS)
def test_docstring_is_there_and_knows_the_parameters(name):
    thing = THINGS[name]
    assert (thing.__doc__ or "").strip(), f"{name} has no docstring"
    agrees(name, thing)
    if inspect.isclass(thing):
        for member, function in members(thing):
            assert (inspect.getdoc(function) or "").strip(), f"{name}.{member} has no docstring"
            agrees(f"{name}.{member}", function)


def agrees(name, thing):
    """Fail unless the Parameters section, if there is one, names exactly the parameters.

    A field that holds state rather than a choice may stand among the Attributes instead.
    """
    docstring = inspect.getdoc(thing) or ""
    documented, state = (names_in(section, docstring) for section in ("Parameters", "Attributes"))
    if documented is None:
        return
    actual = [
        ("*" * {p.VAR_POSITIONAL: 1, p.VAR_KEYWORD: 2}.get(p.kind, 0)) + p.name
        for p in inspect.signature(thing).parameters.values()
        if p.name not in {"self", "cls"}
    ]
    unknown = [entry for entry in documented if entry not in actual]
    assert not unknown, f"{name} documents {unknown}, but takes {actual}"
    left_out = [entry for entry in actual if entry not in [*documented, *(state or [])]]
    assert not left_out, f"{name} takes {left_out}, but documents only {documented}"


def names_in(section, docstring):
    """Return the names listed in a section of a numpydoc docstring, or None without such a one."""
    body = re.search(rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}|\Z)", docstring, re.M | re.S)
    if body is None:
        return None
    heads = re.findall(r"^(\S[^\n]*?)(?: : [^\n]*)?$", body[1], re.MULTILINE)
    return [name.strip() for head in heads for name in head.split(",")]


def test_the_reader_of_docstrings_reads():
    text = "Sum.\n\nParameters\n---\na, b : int\n    Two.\n**rest\n    More.\n\nReturns\n---\nint"
    assert names_in("Parameters", text) == ["a", "b", "**rest"]
    assert names_in("Parameters", "Sum.") is None
    with pytest.raises(AssertionError, match=r"documents \['b'\], but takes \['a'\]"):
        agrees("f", documented_wrongly)
    with pytest.raises(AssertionError, match=r"takes \['b'\], but documents only \['a'\]"):
        agrees("g", documented_in_part)


def documented_wrongly(a):
    """Do.

    Parameters
    ----------
    b : int
    """


def documented_in_part(a, b):
    """Do.

    Parameters
    ----------
    a : int
    """


def test_every_module_but_these_needs_numpy_alone():
    core = [name for name in MODULES if not name.startswith(NEED_MORE_THAN_NUMPY)]
    code = (
        f"import sys, importlib; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"  # None: fails
        f"for name in {core}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
