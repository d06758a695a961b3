"""What a cell needs: the statements of the cells before it that lead to its names.

A widget needs a fraction of its chapter: no figures, no timings.  `needed` finds that fraction by
following names backwards, statement by statement, as a compiler finds live variables.  A method
that is called by itself, or whose result is assigned, is taken to change the object before its dot,
a function of the notebook what its body changes, an imported function nothing.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["code_of", "leading", "needed"]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Import = ast.Import | ast.ImportFrom
MAGIC = ("%", "!", "?")
IN_QUERY = re.compile(r"@(\w+)")  # pandas reads a variable so: table.query("rows < @most")


def needed(cells: Sequence[str], which: int) -> str:
    """The code of cell `which`, after the statements of earlier cells that it needs.

    Parameters
    ----------
    cells : sequence of str
        The code cells of a notebook, in their order.
    which : int
        The cell that is wanted; the whole of it is kept.

    Examples
    --------
    >>> print(needed(["import a, b", "x = a.one()", "y = b.two()", "print(x)"], 3))
    import a
    x = a.one()
    print(x)
    """
    return f"{leading(cells, which)}\n{code_of(cells[which])}".strip("\n")


def leading(cells: Sequence[str], which: int) -> str:
    """The statements before cell `which` that it needs, without the cell."""
    before = [statement for cell in cells[:which] for statement in _statements(cell)]
    modules = {_bound_by(one) for part in before if isinstance(part, Import) for one in part.names}
    live: set[str] = set()
    passed = [*before, *_statements(cells[which])]
    while len(passed) > len(before):
        statement = passed.pop()
        live = _live((live - _surely_bound(statement)) | _free(statement), passed)
    kept: list[ast.stmt] = []
    while passed:
        statement = passed.pop()
        if isinstance(statement, Import):
            kept += _narrowed(statement, live)
        elif live & (_bound(statement) | (_touched(statement, passed) - modules)):
            live = _live((live - _surely_bound(statement)) | _free(statement), passed)
            kept.append(statement)
    return "\n".join(ast.unparse(statement) for statement in reversed(kept))


def code_of(cell: str) -> str:
    """A cell without the lines that are not Python."""
    return "\n".join("" if line.startswith(MAGIC) else line for line in cell.splitlines())


def _statements(cell: str) -> list[ast.stmt]:
    return ast.parse(code_of(cell)).body


def _functions(before: Iterable[ast.stmt]) -> dict[str, ast.FunctionDef]:
    return {part.name: part for part in before if isinstance(part, ast.FunctionDef)}


def _live(names: set[str], before: Iterable[ast.stmt]) -> set[str]:
    """`names` and what the functions among them use: that is read when they are called."""
    functions = _functions(before)
    found, asked = set(names), set(names)
    while asked := {name for own in asked & functions.keys() for name in _free(functions[own])}:
        asked -= found
        found |= asked
    return found


def _narrowed(statement: Import, live: set[str]) -> list[ast.stmt]:
    """An import of what is needed alone, or nothing."""
    statement.names = [alias for alias in statement.names if _bound_by(alias) in live | {"*"}]
    return [statement] if statement.names else []


def _bound_by(alias: ast.alias) -> str:
    return (alias.asname or alias.name).partition(".")[0]


def _free(node: ast.AST) -> set[str]:
    """The names that a piece of code reads from outside."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, ast.Constant):
        return set(IN_QUERY.findall(node.value)) if isinstance(node.value, str) else set()
    if isinstance(node, ast.For | ast.AsyncFor):  # its target is bound before its body is read
        own = _free_in(node.body) - _bound(node.target)
        return _free(node.iter) | _free(node.target) | own | _free_in(node.orelse)
    if isinstance(node, ast.If | ast.While):
        return _free(node.test) | _free_in(node.body) | _free_in(node.orelse)
    found = set().union(*(_free(child) for child in ast.iter_child_nodes(node)))
    if isinstance(node, Function):
        body = node.body if isinstance(node.body, list) else [node.body]
        return found - _parameters(node) - set().union(*(_bound(part) for part in body))
    if isinstance(node, Comprehension):
        return found - set().union(*(_bound(part.target) for part in node.generators))
    if isinstance(node, ast.AugAssign):
        return found | _bound(node.target) | _base(node.target)
    return found


def _free_in(body: Iterable[ast.stmt]) -> set[str]:
    """The names that statements in their order read before one of them surely binds them."""
    found: set[str] = set()
    bound: set[str] = set()
    for statement in body:
        found |= _free(statement) - bound
        bound |= _surely_bound(statement)
    return found


def _bound(node: ast.AST) -> set[str]:
    """The names that a piece of code may bind in the scope it stands in."""
    found = set()
    for part in _of_this_scope(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
            found.add(part.id)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(part.name)
    return found


def _surely_bound(statement: ast.stmt) -> set[str]:
    """The names whose earlier values do not matter after a statement."""
    plain = ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return _bound(statement) if isinstance(statement, plain) else set()


def _touched(statement: ast.stmt, before: Sequence[ast.stmt] = ()) -> set[str]:
    """The names whose objects a statement may change: by an item, an attribute, a call."""
    functions = _functions(before)
    found = _asked(statement.value) if isinstance(statement, ast.Assign) else set()
    for part in _of_this_scope(statement):
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            found |= _base(part)
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            found |= _base(part.value.func)
        name = getattr(part.func, "id", "") if isinstance(part, ast.Call) else ""
        if isinstance(part, ast.Call) and name in functions:
            inside = set().union(*(_touched(one) for one in functions[name].body))
            found |= inside & _free(functions[name])
            if inside & _parameters(functions[name]):
                found |= {one.id for one in part.args if isinstance(one, ast.Name)}
    return found


def _asked(value: ast.expr) -> set[str]:
    """The name whose method gives a value: ``a`` in ``a.read().times[0]``."""
    found: set[str] = set()
    while isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
        if isinstance(value, ast.Call):
            found = _base(value.func)
            value = value.func
        else:
            value = value.value
    return found


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    return {part.arg for part in ast.walk(function.args) if isinstance(part, ast.arg)}


def _base(node: ast.expr) -> set[str]:
    """The name at the root of ``name.a[b].c``; of a bare name nothing."""
    inner = node
    while isinstance(inner, ast.Subscript | ast.Attribute):
        inner = inner.value
    return {inner.id} if isinstance(inner, ast.Name) and inner is not node else set()


def _of_this_scope(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what stands in it, less the inside of functions, classes and comprehensions."""
    yield node
    if not isinstance(node, Function | Comprehension | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            yield from _of_this_scope(child)
