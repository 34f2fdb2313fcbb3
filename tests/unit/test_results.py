import json

import pytest

from parley.engine.results import failure_of, result_of
from parley.engine.runner import Failed, Returned
from parley.errors import AppError, Internal

MAX_BYTES = 100


def modification(result):
    return json.loads(b'{"queryId":1' + result.tail)


def of(ended, journal=None):
    return result_of(ended, journal, max_bytes=MAX_BYTES, redact=True)


def test_a_value_is_an_update_with_its_journal():
    result = of(Returned([1, "a"]), "the end")

    assert modification(result) == {
        "queryId": 1,
        "type": "QueryUpdated",
        "value": [1, "a"],
        "logLines": [],
        "journal": "the end",
    }
    assert result.value == b'[1,"a"]'
    assert result.error is None


def test_a_value_that_contains_what_looks_like_a_value_is_found_whole():
    result = of(Returned({"value": '"value":1'}))

    assert json.loads(result.value) == {"value": '"value":1'}


def test_a_failure_is_told_with_its_data():
    told = modification(of(Failed(AppError({"code": 7}))))

    assert told["type"] == "QueryFailed"
    assert told["errorData"] == {"code": 7}


@pytest.mark.parametrize(
    "value", [{"$ref": 1}, {"é": 1}, object()], ids=["dollar", "not ASCII", "no value"]
)
def test_a_value_that_no_client_could_take_is_a_failure(value):
    assert modification(of(Returned(value)))["type"] == "QueryFailed"


def test_a_value_may_be_as_long_as_its_limit_and_no_longer():
    fits = of(Returned("x" * (MAX_BYTES - 2)))
    exceeds = of(Returned("x" * (MAX_BYTES - 1)))

    assert fits.error is None
    assert "a result may be 100 bytes; this one has 101" in modification(exceeds)["errorMessage"]


def test_results_that_a_client_cannot_tell_apart_have_one_digest():
    assert of(Returned([1])).digest == of(Returned([1]), "another page").digest
    assert of(Returned([1])).digest != of(Returned([2])).digest
    failures = [failure_of(AppError("no"), redact=True) for _ in range(2)]
    assert failures[0].digest == failures[1].digest
    assert failures[0].request_id != failures[1].request_id
    assert failures[0].digest != of(Returned("no")).digest


def test_the_request_id_of_a_failure_is_the_one_in_its_text():
    failure = failure_of(Internal("secret"), redact=True)

    assert modification(failure)["errorMessage"] == (
        f"[Request ID: {failure.request_id}] Server Error"
    )


# --- patches


def patchable(value, before=None, journal=None, max_bytes=MAX_BYTES):
    return result_of(
        Returned(value),
        journal,
        max_bytes=max_bytes,
        redact=True,
        before=before,
        takes_patches=True,
    )


def test_a_changed_result_is_a_patch_of_the_one_before_with_its_own_journal():
    before = patchable(["a", "b", "c" * 50])

    result = patchable(["a", "B", "c" * 50], before, "the end")

    assert json.loads(b'{"queryId":1' + result.patch_since(before.digest)) == {
        "queryId": 1,
        "type": "QueryPatched",
        "patch": [["splice", [], 1, 1, ["B"]]],
        "logLines": [],
        "journal": "the end",
    }
    assert modification(result)["value"] == ["a", "B", "c" * 50]
    assert result.size_bytes == len(result.tail)
    assert result.value == b'["a","B","%b"]' % (b"c" * 50)


def test_an_unchanged_result_is_the_one_before():
    before = patchable(["a"])

    assert patchable(["a"], before) is before


def test_steps_of_several_results_are_one_patch():
    first = patchable(["a" * 50])
    third = patchable(["a" * 50, 2, 3], patchable(["a" * 50, 2], first))

    assert json.loads(b'{"queryId":1' + third.patch_since(first.digest))["patch"] == [
        ["splice", [], 1, 0, [2]],
        ["splice", [], 2, 0, [3]],
    ]
    assert third.patch_since(b"unknown") is None
    assert third.patch_since(None) is None


def test_steps_are_forgotten_that_are_longer_than_the_whole():
    results = [patchable(["a" * 50])]
    for n in range(9):
        results.append(patchable(["a" * 50, n], results[-1]))

    newest = results[-1]

    assert newest.patch_since(results[-2].digest) is not None
    assert newest.patch_since(results[0].digest) is None


def test_the_limit_is_of_the_whole_result_not_of_its_patch():
    before = patchable(["x" * (MAX_BYTES - 8)])

    assert patchable(["x" * (MAX_BYTES - 8), 1111], before).error is not None
    assert patchable(["x" * (MAX_BYTES - 8), 111], before).error is None


def long(*items, before=None):
    ended = Returned([*items, "x" * (64 << 10)])
    return result_of(ended, None, max_bytes=1 << 20, redact=True, before=before)


def test_a_long_result_keeps_its_digest_while_it_is_equal_also_when_forgotten():
    first = long("a")
    second = long("b", before=first)
    assert second.digest != first.digest

    assert long("b", before=second).digest == second.digest
    assert long("b", before=second.forgotten()).digest == second.digest
    assert long("c", before=second.forgotten()).digest != second.digest


def test_no_two_long_results_share_a_digest_however_they_came_about():
    first = long("a")
    failed = result_of(Failed(AppError("no")), None, max_bytes=1 << 20, redact=True, before=first)

    digests = [
        long("b", before=first).digest,
        long("c", before=long("a", before=failed)).digest,
        long("d", before=first).digest,
    ]

    assert len({first.digest, *digests}) == 4


def test_a_forgotten_result_that_comes_again_keeps_its_digest():
    before = patchable(["a", "b" * 50, 2], patchable(["a", "b" * 50]))

    again = patchable(["a", "b" * 50, 2], before.forgotten())

    assert before.forgotten().is_forgotten
    assert again.digest == before.digest
    assert of(Returned(["a", "b" * 50, 2])).digest != before.digest


def test_a_result_that_nobody_takes_patches_of_any_more_keeps_its_digest_while_it_is_equal():
    before = patchable(["a", "b" * 50, 2], patchable(["a", "b" * 50]))

    again = result_of(
        Returned(["a", "b" * 50, 2]), None, max_bytes=MAX_BYTES, redact=True, before=before
    )

    assert again.digest == before.digest
    assert again.tree is None
