"""What the docstring below a configuration key says, read from the model's source when somebody asks.

pydantic can read them when a model is made (`use_attribute_docstrings`); that costs every start of the program 50 ms,
and only schemas and error messages want them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel
from pydantic.config import JsonDict


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """By key: its docstring, or the description that its field was given."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _docstrings(base)
            found |= {name: f.description for name, f in base.model_fields.items() if f.description}
    return found


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):  # made by `create_model`
        return {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[statement.target.id] = inspect.cleandoc(below.value.value)
    return found


def describe(schema: JsonDict, model: type[BaseModel]) -> None:
    """Add the descriptions to a model's JSON Schema."""
    properties = schema.get("properties")
    assert isinstance(properties, dict)
    for name, text in descriptions(model).items():
        key = properties[name]
        assert isinstance(key, dict)
        key.setdefault("description", text)
