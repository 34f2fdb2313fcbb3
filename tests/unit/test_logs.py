import json
import logging

import pytest

from parley.config import Settings
from parley.logs import MAX_TEXT, configure_logging, make_safe


@pytest.fixture(autouse=True)
def _own_root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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


def test_handshakes_are_left_out(capsys):
    configure_logging(Settings(log_format="json", log_level="info"))

    logging.getLogger("uvicorn.error").info(
        '%s - "WebSocket %s" [accepted]', "1.2.3.4", "/api/sync"
    )

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u2028b", r"a\u2028b"),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT + "…"),
    ],
)
def test_texts_cannot_colour_break_or_flood_the_log(text, shown):
    assert make_safe(None, "info", {"event": text}) == {"event": shown}


def test_people_get_a_line_to_read(capsys):
    configure_logging(Settings(log_format="console"))

    logging.getLogger("parley.test").warning("hello")

    assert "hello" in capsys.readouterr().err
