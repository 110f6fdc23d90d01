"""What every table of a configuration file is: closed, strict, immutable, and described by its docstrings."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from coordinator.config.descriptions import describe


class Table(BaseModel):
    """A table; each key has its docstring below it.

    A table's default is `model_construct`ed: that leaves the building of what checks it to the first that is checked.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_extra=describe,
        validate_default=False,
        regex_engine="python-re",
        defer_build=True,
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # frozen; pydantic copies defaults, which costs more than all its checks
