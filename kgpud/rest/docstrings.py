"""What stands below a field in its model's source, read when it is asked for.

pydantic's own `use_attribute_docstrings` reads it while the models are made: a fifth of a second
at each start, for a description that is seldom asked for.
"""

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Mapping


def of(model: type) -> Mapping[str, str]:
    """Return the docstring of each field that has one, inherited ones included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        found |= _own(base)
    return found


def _own(model: type) -> dict[str, str]:
    if not model.__module__.startswith("kgpud."):
        return {}
    body = _classes(model.__module__).get(model.__name__, [])
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


@functools.cache
def _classes(module: str) -> Mapping[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
