from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpml.referee.compare import Memory, Problem, Tampered, accept, alike

BASE = 1 << 20
TOLERANCE = {"float32": 1e-5}


def memory_of(*own: np.ndarray, heap: np.ndarray | None = None, at: int = 1 << 30) -> Memory:
    """A worker whose arena holds `own` one after another, and whose heap holds one array."""
    places, offset = [], 0
    for a in own:
        places.append((offset, a))
        offset += a.nbytes
    raw = heap.tobytes() if heap is not None else b""

    def read(address: int, size: int) -> bytes:
        if address < at or address + size > at + len(raw):
            raise OSError
        return raw[address - at: address - at + size]

    return Memory(BASE, places, read)


def said(a: np.ndarray, address: int = 1 << 30) -> dict[str, Any]:
    return {"shape": list(a.shape), "dtype": a.dtype.str, "strides": list(a.strides), "address": address}


def problem(got: np.ndarray, expected: np.ndarray, **more: Any) -> Problem | None:
    return accept(said(got) | more, expected, TOLERANCE, memory_of(heap=got), False, "f")[1]


E = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def test_right_is_accepted_and_within_tolerance_too() -> None:
    assert problem(E.copy(), E) is None
    assert problem(E + np.float32(5e-6), E) is None


@pytest.mark.parametrize(("got", "says"), [
    (E + np.float32(0.1), "wrong values. First difference at output [0, 0]: expected -1, got -0.9 (100% of the values differ)"),
    (E.astype(np.float64), "returned float64; expected float32"),
    (E.T.copy(), "returned shape (4, 3); expected (3, 4)"),
    (E[0], "returned shape (4,); expected (3, 4)"),
    (np.where(E > 0.9, np.nan, E).astype(np.float32), "holds NaN, first at [2, 3]"),
    (np.where(E > 0.9, np.inf, E).astype(np.float32), "wrong values"),
    (E.astype(np.float16).astype(np.float32), "half precision"),
])
def test_what_is_wrong_is_said(got: np.ndarray, says: str) -> None:
    found = problem(got, E)
    assert found is not None and says in found.message


def test_nan_equals_nothing_where_the_expected_has_none() -> None:
    assert problem(np.full_like(E, np.nan), E) is not None


@pytest.mark.parametrize(("value", "says"), [
    ({"type": "NoneType"}, "returned None. Is a `return` missing?"),
    ({"type": "list"}, "returned a list; expected a NumPy array"),
    ({"type": "EagerTensor"}, "returned an EagerTensor"),
    ({"number": 1.0, "type": "float"}, "returned a float"),
    ([said(E)], "returned a tuple"),
])
def test_other_types(value: Any, says: str) -> None:
    found = accept(value, E, TOLERANCE, memory_of(heap=E), False, "f")[1]
    assert found is not None and says in found.message


def test_tuples_name_their_part() -> None:
    both = np.stack([E, E + 1])
    first, second = said(E), said(E, (1 << 30) + E.nbytes)
    value, found = accept([first, second], (E, E), TOLERANCE, memory_of(heap=both), False, "f")
    assert found is not None and "`f()[1]` returned wrong values" in found.message and len(value) == 2
    assert accept([first, second], (E, E + 1), TOLERANCE, memory_of(heap=both), False, "f")[1] is None
    assert "expected a tuple of 2" in accept(first, (E, E), TOLERANCE, memory_of(heap=both), False, "f")[1].message   # type: ignore[union-attr]


def test_none_in_place_of_a_tuple_asks_for_the_return() -> None:
    found = accept({"type": "NoneType"}, (E, E), TOLERANCE, memory_of(), False, "f")[1]
    assert found is not None and found.message == "`f` returned None. Is a `return` missing?"


@pytest.mark.parametrize("other", [None, (E,), (E, E, E), (E, E.T), (E, E.astype(np.float64)), [E, E], E])
def test_alike_looks_at_form_and_not_at_values(other: Any) -> None:
    assert alike((E, -E), (E, E)) and not alike(other, (E, E))


def test_views_are_told_from_copies() -> None:
    x = np.arange(20, dtype=np.float32)
    part = x[4:16:2][::-1]
    view = {"shape": [6], "dtype": "<f4", "strides": [-8], "address": BASE + 14 * 4}
    value, found = accept(view, part.copy(), TOLERANCE, memory_of(x), True, "f")
    assert found is None and value.tolist() == part.tolist()
    copied = accept(said(part.copy()), part.copy(), TOLERANCE, memory_of(x, heap=part.copy()), True, "f")[1]
    assert copied is not None and "returned a copy (24 bytes), not a view" in copied.message


def test_a_view_that_reaches_out_of_its_argument_is_not_read_from_it() -> None:
    x = np.arange(20, dtype=np.float32)
    beyond = {"shape": [6], "dtype": "<f4", "strides": [4], "address": BASE + 16 * 4}
    with pytest.raises(Tampered):
        accept(beyond, np.zeros(6, np.float32), TOLERANCE, memory_of(x), True, "f")


ANY = st.recursive(st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=5),
                   lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                       st.sampled_from(["shape", "dtype", "strides", "address", "type", "number"]), inner, max_size=6), max_leaves=12)


@given(ANY, st.booleans(), st.booleans())
def test_no_description_does_more_than_be_refused(value: Any, view: bool, pair: bool) -> None:
    expected = (E, E) if pair else E
    try:
        _, found = accept(value, expected, TOLERANCE, memory_of(E, heap=E), view, "f")
    except Tampered:
        return
    assert found is not None


@given(st.lists(st.integers(-(1 << 66), 1 << 66), max_size=3), st.integers(-(1 << 66), 1 << 66))
def test_no_strides_read_outside(strides: list[int], address: int) -> None:
    try:
        accept(said(E) | {"strides": strides, "address": address}, E, TOLERANCE, memory_of(E, heap=E), False, "f")
    except Tampered:
        return
