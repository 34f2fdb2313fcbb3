import json
import logging
import re

import pytest

from parley.config import Settings
from parley.logs import (
    _NO_FRAMES,
    _NO_REQUESTS,
    MAX_TRACEBACK,
    configure_logging,
)


@pytest.fixture(autouse=True)
def _own_root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = [logging.getLogger(name) for name in (*_NO_REQUESTS, *_NO_FRAMES)]
    levels = [other.level for other in others]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for other, before in zip(others, levels, strict=True):
        other.setLevel(before)


def test_an_event_is_one_line_of_json(capsys):
    configure_logging(Settings(log_format="json"))

    logging.getLogger("parley.test").warning("token refused: %s", "two\nlines")

    [line] = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert event["event"] == r"token refused: two\nlines"
    assert event["level"] == "warning"
    assert event["logger"] == "parley.test"


def test_an_error_brings_its_traceback(capsys):
    configure_logging(Settings(log_format="json"))

    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("parley.test").exception("failed")

    event = json.loads(capsys.readouterr().err)
    assert "ValueError: boom" in event["exception"]


def test_lines_below_the_level_are_left_out(capsys):
    configure_logging(Settings(log_format="json", log_level="error"))

    logging.getLogger("parley.test").warning("not shown")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["uvicorn.error", "uvicorn.access", "httpcore.http11"])
def test_frames_and_headers_are_left_out_even_at_the_lowest_level(capsys, name):
    configure_logging(Settings(log_level="debug"))

    logging.getLogger(name).debug('< TEXT {"type": "Authenticate", "value": "hush"}')

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio"])
def test_the_level_is_that_of_all(capsys, name):
    configure_logging(Settings(log_level="error"))

    logging.getLogger(name).warning("not shown")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line",
    [
        '1.2.3.4 - "WebSocket /api/sync" [accepted]',
        "connection open",
        "connection rejected (403 Forbidden)",
        "Invalid HTTP request received.",
    ],
)
def test_lines_that_any_peer_could_make_are_left_out(capsys, line):
    configure_logging(Settings(log_format="json", log_level="info"))

    logging.getLogger("uvicorn.error").warning(line)
    logging.getLogger("uvicorn.error").info("Application startup complete.")

    [only] = capsys.readouterr().err.splitlines()
    assert json.loads(only)["event"] == "Application startup complete."


HOSTILE = {
    "line breaks": "x\r\n2026-01-01T00:00:00Z [info     ] forged",
    "colour": "\x1b[2J\x1b[31mred\x9b1m",
    "title of the terminal": "\x1b]0;forged\x07",
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "right to left": "\u202egnorw",
    "NUL": "a\x00b",
    "backspaces": "a" + "\b" * 100,
    "half a character": "\ud800",
    "formats": "%s%s%n%(x)s{0}{event}{self.__class__}",
    "a megabyte": "x" * (1 << 20),
    "a megabyte of lines": "x\n" * (1 << 19),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("is_exception", [False, True])
def test_what_clients_send_cannot_forge_colour_or_flood_the_log(
    capsys, name, log_format, is_exception
):
    configure_logging(Settings(log_format=log_format))
    text = HOSTILE[name]

    if is_exception:
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("parley.test").exception("failed")
    else:
        logging.getLogger("parley.test").warning("refused: %s", text)

    written = capsys.readouterr().err
    first, *more = written.removesuffix("\n").split("\n")
    own = re.sub(r"\x1b\[\d*m", "", written) if log_format == "console" else written
    assert all(each.isprintable() for each in own.split("\n"))
    assert all(line.startswith("    ") for line in more)
    assert bool(more) == (is_exception and log_format == "console")
    assert len(written) < 2 * MAX_TRACEBACK
    assert "ValueError" in written or not is_exception
    if log_format == "json":
        assert json.loads(first)["level"] == ("error" if is_exception else "warning")


def test_people_get_a_line_to_read(capsys):
    configure_logging(Settings(log_format="console"))

    logging.getLogger("parley.test").warning("hello")

    assert "hello" in capsys.readouterr().err
