"""Linearizability: whether operations each took effect at one instant while they ran, judged by what they returned.

Owns the sequential objects (`TYPES`) and the search. Reads no guest (`coordinator.check.history` does).

The search is Wing and Gong's (Testing and verifying concurrent objects, JPDC 1993) with Lowe's memory of what was
tried (Testing for linearizability, CCPE 2017): which operations took effect, and the state they left, is tried once.
Objects are searched one by one, as Herlihy and Wing's locality permits (TOPLAS 1990). Ours are the order in which
candidates are tried and `_Search._blocks`: a value that occurs once has a known end, and so a place where it must lie.
The problem is NP-complete; a search that reaches its bound says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from coordinator.check.history import Operation

State = tuple[int, ...]
"""What an object holds; of containers, the end that is added to is the last."""

Apply = Callable[[State, int, int | None], State | None]
"""(state, value of the operation, capacity) -> the state after it, or None where it cannot have done that."""


class Answer(Enum):
    """What a search came to."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer, and for people why: the operation that no order explains, or the bound that was reached."""

    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of operation: its name, what it does, and whether its value goes in, comes out or neither."""

    name: str
    apply: Apply
    inserts: bool = False
    removes: bool = False


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A sequential object.

    Attributes:
        kinds: its operations, by the number that guests write.
        initial: its state before all operations.
        bounded: whether it has a capacity.
        first_out: of two values, whether the one inserted first leaves first (True), last (False), or either (None).

    """

    kinds: Mapping[int, Kind]
    initial: State = ()
    bounded: bool = False
    first_out: bool | None = None


def _push(state: State, value: int, capacity: int | None) -> State | None:
    return None if capacity is not None and len(state) >= capacity else (*state, value)


def _pop_newest(state: State, value: int, capacity: int | None) -> State | None:
    return state[:-1] if state and state[-1] == value else None


def _pop_oldest(state: State, value: int, capacity: int | None) -> State | None:
    return state[1:] if state and state[0] == value else None


def _finds_empty(state: State, value: int, capacity: int | None) -> State | None:
    return None if state else state


def _finds_full(state: State, value: int, capacity: int | None) -> State | None:
    return state if len(state) == capacity else None


def _increment(state: State, value: int, capacity: int | None) -> State | None:
    return (value + 1,) if state == (value,) else None


_QUEUE = {
    1: Kind("enqueue", _push, inserts=True),
    2: Kind("dequeue", _pop_oldest, removes=True),
    3: Kind("dequeue (empty)", _finds_empty),
}

TYPES: Mapping[str, ObjectType] = {
    "counter": ObjectType({1: Kind("increment from", _increment)}, initial=(0,)),
    "stack": ObjectType(
        {
            1: Kind("push", _push, inserts=True),
            2: Kind("pop", _pop_newest, removes=True),
            3: Kind("pop (empty)", _finds_empty),
        },
        first_out=False,
    ),
    "queue": ObjectType(_QUEUE, first_out=True),
    "ring": ObjectType(_QUEUE | {4: Kind("enqueue (full)", _finds_full)}, bounded=True, first_out=True),
    "deque": ObjectType(
        {
            1: Kind("push", _push, inserts=True),
            2: Kind("take", _pop_newest, removes=True),
            3: Kind("take (empty)", _finds_empty),
            4: Kind("steal", _pop_oldest, removes=True),
            5: Kind("steal (empty)", _finds_empty),
        }
    ),
}
"""By name: `counter` (value: what it was before), `stack`, `queue` (first in, first out), `ring` (a queue that may be
full), `deque` (one hart pushes and takes at one end, all steal at the other)."""

MOST_STATES = 200_000
"""How many states a search visits before it gives up, unless told otherwise."""


def check(
    name: str, operations: Sequence[Operation], capacity: int | None = None, most_states: int = MOST_STATES
) -> Finding:
    """Whether `operations` on objects of the type `name` are linearizable; `capacity` is a ring's.

    Raises:
        ValueError: an operation of a kind that the type does not have.

    """
    of_type = TYPES[name]
    by_object: defaultdict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.kind not in of_type.kinds:
            allowed = ", ".join(f"{number} ({kind.name})" for number, kind in of_type.kinds.items())
            raise ValueError(
                f"hart {operation.hart}'s operation {operation.number} is of kind {operation.kind}; "
                f"a {name} has {allowed}"
            )
        by_object[operation.object].append(operation)
    undecided = None
    for number, own in sorted(by_object.items()):
        found = _impossible(of_type, own) or _Search(of_type, own, capacity, most_states).run()
        where = f"object {number}: " if len(by_object) > 1 else ""
        if found.answer is Answer.NOT_LINEARIZABLE:
            return Finding(found.answer, where + found.why)
        if found.answer is Answer.UNDECIDED:
            undecided = undecided or Finding(found.answer, where + found.why)
    return undecided or Finding(Answer.LINEARIZABLE)


def describe(of_type: ObjectType, operation: Operation) -> str:
    """`hart 2's operation 17, dequeue 4711`."""
    return (
        f"hart {operation.hart}'s operation {operation.number}, "
        f"{of_type.kinds[operation.kind].name} {operation.value:#x} (from {operation.invoked} to {operation.responded})"
    )


def _impossible(of_type: ObjectType, operations: Sequence[Operation]) -> Finding | None:
    """A removal of what nobody can have inserted by then, if there is one: found without a search."""
    inserted: defaultdict[int, list[int]] = defaultdict(list)
    for operation in operations:
        if of_type.kinds[operation.kind].inserts:
            inserted[operation.value].append(operation.invoked)
    for times in inserted.values():
        times.sort(reverse=True)
    removals = [o for o in operations if of_type.kinds[o.kind].removes]
    for removal in sorted(removals, key=lambda o: o.responded):
        times = inserted[removal.value]
        if not times or times.pop() > removal.responded:
            why = f"{describe(of_type, removal)} gets what was not there, or is gone"
            return Finding(Answer.NOT_LINEARIZABLE, why)
    return None


_NEVER = 1 << 64
"""Later than any time: values that stay."""


@dataclass(slots=True)
class _Entry:
    """A beginning or an end of an operation, in a list by time out of which operations are taken."""

    operation: int
    ends: bool
    before: _Entry | None = None
    after: _Entry | None = None

    def take_out(self) -> None:
        assert self.before is not None
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def put_back(self) -> None:
        assert self.before is not None
        self.before.after = self
        if self.after is not None:
            self.after.before = self


@dataclass(slots=True)
class _Depth:
    """How far the search is: the state, all operations below `low` and those in `window` (bits from `low` on) done."""

    state: State
    low: int
    window: int
    candidates: Iterator[int]
    taken: int = -1


@dataclass(slots=True)
class _Search:
    of_type: ObjectType
    operations: Sequence[Operation]
    capacity: int | None
    most_states: int
    _head: _Entry = field(init=False)
    _entries: list[tuple[_Entry, _Entry]] = field(init=False)
    _leaves: dict[int, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.operations = sorted(self.operations, key=lambda o: o.invoked)
        self._link()
        self._leaves = self._removals()

    def _link(self) -> None:
        pairs = [(_Entry(n, ends=False), _Entry(n, ends=True)) for n in range(len(self.operations))]
        # At equal times beginnings come first: operations that touch may have overlapped.
        by_time = sorted(
            (entry for pair in pairs for entry in pair),
            key=lambda e: (
                (self.operations[e.operation].responded, 1)
                if e.ends
                else (self.operations[e.operation].invoked, 0)
            ),
        )
        self._head = previous = _Entry(-1, ends=False)
        for entry in by_time:
            previous.after, entry.before = entry, previous
            previous = entry
        self._entries = pairs

    def _removals(self) -> dict[int, tuple[int, int]]:
        """When a value leaves: its removal's beginning and end. Only of values that are inserted once."""
        kinds = self.of_type.kinds
        count: defaultdict[int, int] = defaultdict(int)
        for operation in self.operations:
            count[operation.value] += kinds[operation.kind].inserts
        leaves = {value: (_NEVER, _NEVER) for value, inserted in count.items() if inserted == 1}
        for operation in self.operations:
            if kinds[operation.kind].removes and operation.value in leaves:
                leaves[operation.value] = (operation.invoked, operation.responded)
        return leaves

    def run(self) -> Finding:
        seen: set[tuple[int, int, State]] = set()
        depths = [_Depth(self.of_type.initial, 0, 0, self._candidates())]
        deepest, stuck = -1, None
        while len(depths) <= len(self.operations):
            at = depths[-1]
            if len(depths) > deepest:
                deepest, stuck = len(depths), self._first_end()
            below = self._next(at, seen)
            if below is not None:
                depths.append(below)
                if len(seen) > self.most_states:
                    return Finding(Answer.UNDECIDED, f"gave up after {self.most_states} states")
                continue
            depths.pop()
            if not depths:
                assert stuck is not None
                why = f"no order gets past {describe(self.of_type, self.operations[stuck])}"
                return Finding(Answer.NOT_LINEARIZABLE, why)
            self._put_back(depths[-1].taken)
        return Finding(Answer.LINEARIZABLE)

    def _next(self, at: _Depth, seen: set[tuple[int, int, State]]) -> _Depth | None:
        """One operation further, in a way not tried before; None where there is no more."""
        for number in at.candidates:
            operation = self.operations[number]
            state = self.of_type.kinds[operation.kind].apply(at.state, operation.value, self.capacity)
            if state is None or self._blocks(at.state, operation):
                continue
            low, window = at.low, at.window | 1 << (number - at.low)
            while window & 1:
                low, window = low + 1, window >> 1
            if (low, window, state) in seen:
                continue
            seen.add((low, window, state))
            at.taken = number
            self._take_out(number)
            return _Depth(state, low, window, self._candidates())
        return None

    def _blocks(self, state: State, operation: Operation) -> bool:
        """Whether the value that goes in would lie in the way of one that leaves before it, or the other way round."""
        first_out = self.of_type.first_out
        if (
            first_out is None
            or not self.of_type.kinds[operation.kind].inserts
            or operation.value not in self._leaves
        ):
            return False
        begins, ends = self._leaves[operation.value]
        for older in state:
            if older in self._leaves:
                older_begins, older_ends = self._leaves[older]
                if (ends < older_begins) if first_out else (older_ends < begins):
                    return True
        return False

    def _candidates(self) -> Iterator[int]:
        """What may take effect next: all that began before the first end. Likely ones first."""
        found = []
        entry = self._head.after
        while entry is not None and not entry.ends:
            found.append(entry.operation)
            entry = entry.after
        return iter(sorted(found, key=self._promise))

    def _promise(self, number: int) -> tuple[int, int]:
        operation = self.operations[number]
        if not self.of_type.kinds[operation.kind].inserts:
            return 0, operation.responded
        leaves = self._leaves.get(operation.value, (_NEVER, _NEVER))[1]
        return 1, -leaves if self.of_type.first_out is False else leaves

    def _first_end(self) -> int | None:
        entry = self._head.after
        while entry is not None and not entry.ends:
            entry = entry.after
        return None if entry is None else entry.operation

    def _take_out(self, number: int) -> None:
        for entry in self._entries[number]:
            entry.take_out()

    def _put_back(self, number: int) -> None:
        for entry in reversed(self._entries[number]):
            entry.put_back()
