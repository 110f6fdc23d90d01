"""LLVM IR as text, line by line: names, labels and blocks of one function.

Owns the counter that keeps them unique. Knows no instruction and no policy; `bus.lowering` says what it is for.
"""

from __future__ import annotations


class FunctionText:
    """The lines of a function under construction; see `bus.lowering.AccessEmitter` for what each method means."""

    def __init__(self) -> None:
        """No line yet."""
        self._lines: list[str] = []
        self._counter = 0
        self.included: dict[str, None] = {}
        """What the module needs besides this function, in order."""

    def name(self) -> str:
        """A new value's name."""
        self._counter += 1
        return f"%v{self._counter}"

    def value(self, text: str) -> str:
        """Emit `%n = text` and return `%n`."""
        name = self.name()
        self._lines.append(f"  {name} = {text}")
        return name

    def pointer(self, offset: str | int) -> str:
        """Host pointer to RAM at an offset."""
        return self.value(f"getelementptr i8, ptr %ram, i64 {offset}")

    def line(self, text: str) -> None:
        """Emit an instruction without result."""
        self._lines.append("  " + text)

    def label(self) -> str:
        """A new block's label."""
        self._counter += 1
        return f"l{self._counter}"

    def begin(self, label: str) -> None:
        """Begin that block."""
        self._lines.append(f"{label}:")

    def free(self, offset: str | int) -> str | None:
        """Nothing is known."""
        return None

    def include(self, text: str) -> None:
        """Have `text` in the module, once."""
        self.included[text] = None
