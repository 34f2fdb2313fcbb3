import logging

import pytest

from parley.engine.failures import refusal, report
from parley.errors import AppError, Internal, WriteRejected


def test_an_unexpected_error_is_logged_with_its_cause_under_the_id_that_the_caller_sees(caplog):
    error = Internal("ValueError: secret")
    error.__cause__ = ValueError("secret")

    report(error, "0123456789abcdef", "notes:add")

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "function notes:add failed [Request ID: 0123456789abcdef]"
    assert record.exc_info[1] is error.__cause__


def test_an_unexpected_error_without_a_cause_is_logged_itself(caplog):
    error = Internal("cannot load rows")

    report(error, "0123456789abcdef", "notes:list")

    assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize("error", [AppError("not yours"), AppError({"code": 1})])
def test_what_an_app_means_to_say_is_not_logged(error, caplog):
    report(error, "0123456789abcdef", "notes:add")

    assert caplog.records == []


@pytest.mark.parametrize(
    "sqlstate", ["21000", "22P02", "23505", "44000", "54000", "P0001", "PY004", "MINE1", "90001"]
)
def test_what_may_not_be_written_is_told_with_its_reason(sqlstate):
    error = refusal(sqlstate, "not wanted")

    assert isinstance(error, WriteRejected)
    assert error.message == f"not wanted (SQLSTATE {sqlstate})"


@pytest.mark.parametrize(
    "sqlstate", ["0A000", "25006", "28000", "38001", "42501", "42703", "F0000", "HV000", "XX000"]
)
def test_what_is_wrong_with_the_set_up_is_no_business_of_clients(sqlstate):
    assert isinstance(refusal(sqlstate, "no column secret"), Internal)
