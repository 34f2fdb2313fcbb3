"""Results too long to be made anew: they are what a fresh run gives, whatever becomes of rows."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parley.engine.live import Result
from parley.engine.results import result_of
from parley.engine.runner import Returned
from parley.values import encode
from tests.support.edits import edited, numbered, shapes
from tests.support.patches import apply_patch
from tests.support.rig import Rig
from tests.support.tables import note, uuid

COUNT = 300  # together longer than what is made anew
CONTENT = "x" * 300


def long_note(number: int, rank: int = 1, owner: str = "ann") -> dict[str, Any]:
    return note(number, owner, rank=rank, more={"content": CONTENT})


def sent(result: Result) -> Any:
    return json.loads(b'{"queryId":1' + result.tail)["value"]


def test_a_long_result_is_made_of_the_one_before() -> None:
    rows = numbered(3000)
    first = result_of(Returned(rows), None, max_bytes=1 << 20, redact=True)
    second = result_of(Returned(rows[1:]), None, max_bytes=1 << 20, redact=True, before=first)

    third = result_of(Returned(rows[2:]), None, max_bytes=1 << 20, redact=True, before=second)

    assert second.text is not None
    assert third.text is not None
    assert third.text.documents.blocks[-1] is second.text.documents.blocks[-1]
    assert third.value == encode(rows[2:])
    assert len({first.digest, second.digest, third.digest}) == 3


def test_a_long_result_that_did_not_change_is_the_one_before() -> None:
    rows = numbered(3000)
    result = result_of(Returned(rows), None, max_bytes=1 << 20, redact=True)
    for _ in range(2):
        rows = rows[1:]
        result = result_of(Returned(rows), None, max_bytes=1 << 20, redact=True, before=result)

    again = result_of(Returned(list(rows)), None, max_bytes=1 << 20, redact=True, before=result)

    assert again is result


def test_a_long_result_has_the_limit_of_any() -> None:
    rows = numbered(3000)
    result = result_of(Returned(rows), None, max_bytes=1 << 20, redact=True)
    for _ in range(3):
        rows = rows[:-1]
        max_bytes = len(encode(rows))
        result = result_of(Returned(rows), None, max_bytes=max_bytes, redact=True, before=result)
        assert result.error is None
        too_long = result_of(
            Returned(rows), None, max_bytes=max_bytes - 1, redact=True, before=result
        )
        assert too_long.error is not None


@settings(deadline=None)
@given(st.data(), shapes(), st.sampled_from([1500, 1700]))
def test_a_result_made_of_others_is_the_one_made_anew(
    data: st.DataObject, shape: Any, count: int
) -> None:
    rows, before, shown = numbered(count), None, None
    for number in range(5):
        value = shape(list(rows))
        whole = encode(value)
        result = result_of(
            Returned(value),
            None,
            max_bytes=4 << 20,
            redact=True,
            before=before,
            takes_patches=data.draw(st.booleans()),
        )
        if isinstance(value, list):
            value.clear()  # whoever gave it may go on with it

        assert result.value == whole
        assert result.value_bytes == len(whole)
        assert result.size_bytes == len(result.tail)
        assert sent(result) == json.loads(whole)
        if before is not None:
            assert result.digest != before.digest or shown == whole
            patch = result.patch_since(before.digest)
            if patch is not None:
                ops = json.loads(b'{"queryId":1' + patch)["patch"]
                assert apply_patch(json.loads(shown), ops) == json.loads(whole)
        is_forgotten = number == 3 and data.draw(st.booleans())
        before, shown = result.forgotten() if is_forgotten else result, whole
        rows = edited(data, rows)


numbers = st.integers(0, 2 * COUNT)
writes = st.lists(
    st.one_of(
        st.builds(long_note, numbers, st.integers(0, 3)),
        st.builds(lambda number: long_note(number, owner="bob"), numbers),
        numbers.map(lambda number: {"_id": uuid(number)}),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda fields: fields["_id"],
)


@settings(max_examples=15, deadline=None)
@given(st.lists(writes, min_size=3, max_size=6))
def test_what_clients_show_of_long_results_is_what_a_fresh_run_gives(changes: list[Any]) -> None:
    rig = Rig(*[long_note(2 * number) for number in range(COUNT)])
    clients = [rig.client(is_parley=is_parley) for is_parley in (False, True)]
    for client in clients:
        client.add(1, "allOf", owner="ann")
        client.add(2, "rearranged", owner="ann")
    for change in [[], *changes]:
        rig.write(*change)
        rig.run()
        for client in clients:
            client.read()  # which checks
            client.check(rig.store.ts)

    whole, patched = clients
    assert whole.results == patched.results
    # A function changed what it was given; whoever reads next is given what is stored.
    assert all(each["more"]["content"] == CONTENT for each in whole.results[1])
