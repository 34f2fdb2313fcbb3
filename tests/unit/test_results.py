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
