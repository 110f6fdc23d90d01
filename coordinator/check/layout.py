"""Where a litmus test's locations and code lie while the model looks at it, and what their values are called.

Owns addresses, initial bytes and the names of values. Every location has a place of its own that shares no reservation
set with another's. How the runner places them on real harts is its own affair.
"""

from __future__ import annotations

from coordinator.litmus.test import (
    INT,
    Address,
    And,
    Atom,
    Implies,
    LitmusTest,
    Location,
    Memory,
    Not,
    Or,
    Proposition,
    Type,
    Value,
    locations,
)

_FIRST_LOCATION = 0x5A00_0000
"""Below 2**31: an address in an undeclared register, shown as an int, stays what it is."""
_LOCATION_STEP = 0x1_0000
_FIRST_CODE = 0x1000_0000
_CODE_STEP = 0x10_0000
_LEAST_ROOM = 16


class Layout:
    """Addresses of a test's locations and threads.

    Attributes:
        types: types by location, where declared.
        bases: address of each array or location, by name.
        code: address of each thread's first instruction.

    """

    def __init__(self, test: LitmusTest) -> None:
        """Place every location that the test names."""
        self.types = test.types()
        names = _memory_names(test)
        self.bases = {name: _FIRST_LOCATION + i * _LOCATION_STEP for i, name in enumerate(names)}
        self.code = {t: _FIRST_CODE + t * _CODE_STEP for t in range(len(test.threads))}
        self._names = {address: name for name, address in self.bases.items()}

    def type_of(self, location: Location) -> Type:
        """The type that a location's value is shown in: of an array's element, the element's."""
        if isinstance(location, Memory) and location.index is not None:
            array = self.types.get(Memory(location.name), INT)
            return Type(array.name, array.pointer)
        return self.types.get(location, INT)

    def size_of(self, name: str) -> int:
        """Bytes of a location or array."""
        return self.types.get(Memory(name), INT).bytes

    def room_of(self, name: str) -> int:
        """Bytes that accesses may touch at a location: a wide access to a narrow one finds zeros behind it."""
        return max(_LEAST_ROOM, -(-self.size_of(name) // _LEAST_ROOM) * _LEAST_ROOM)

    def address_of(self, memory: Memory) -> int:
        """The address of a location."""
        return self.bases[memory.name] + (memory.index or 0) * self.type_of(memory).size

    def location_at(self, address: int) -> str | None:
        """The name of the location or array in whose room an address lies."""
        base = address & -_LOCATION_STEP
        name = self._names.get(base)
        return name if name is not None and address - base < self.room_of(name) else None

    def show(self, location: Location, value: int) -> str:
        """A final value as logs show it: a number, or the name of the location whose address it is."""
        name = self.location_at(value)
        if name is None:
            return str(value)
        offset = value - self.bases[name]
        element = self.type_of(Memory(name, 0)).size
        length = self.types.get(Memory(name), INT).length
        if length is not None and offset % element == 0:
            return f"{name}[{offset // element}]"
        return f"{name}+{offset}" if offset else name


def _memory_names(test: LitmusTest) -> list[str]:
    found: dict[str, None] = {}

    def note(thing: object) -> None:
        if isinstance(thing, Address):
            thing = thing.of
        if isinstance(thing, Memory):
            found.setdefault(thing.name)

    for item in test.initial:
        note(item.location)
        for initial in item.value if isinstance(item.value, tuple) else (item.value,):
            note(initial)
    propositions = [test.condition, *([test.filter] if test.filter is not None else [])]
    for location in (*(s.location for s in test.shown), *(x for p in propositions for x in locations(p))):
        note(location)
    for proposition in propositions:
        for value in _values(proposition):
            note(value)
    return list(found)


def _values(proposition: Proposition) -> list[Value | Location]:
    match proposition:
        case Atom(_, right):
            return [right]
        case Not(operand):
            return _values(operand)
        case And(operands) | Or(operands):
            return [v for o in operands for v in _values(o)]
        case Implies(left, right):
            return _values(left) + _values(right)
        case _:
            return []
