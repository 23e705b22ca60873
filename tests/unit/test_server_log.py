"""The server's log: formats, fields of requests, records of libraries, lines that are printed."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from datetime import datetime, timedelta

import pytest

from nsfw_app import server_log
from nsfw_app.server_log import LoggedLines, LoggedRequest, TextFormatter, json_formatter

LIBRARY = "huggingface_hub"


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to standard error; all loggers are as before at the end."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    root, own = logging.getLogger(), logging.getLogger("nsfw_app")
    library = logging.getLogger(LIBRARY)
    before = [(each, list(each.handlers), each.level, each.propagate) for each in (root, own, library)]
    try:
        yield written
    finally:
        logging.captureWarnings(False)
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def objects(output: io.StringIO) -> list[dict]:
    """The records of a log in JSON."""
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_json_record_has_time_level_logger_and_message(output: io.StringIO) -> None:
    """And its extra fields; the time is ISO 8601 in UTC."""
    server_log.configure("json", "info")
    logging.getLogger("nsfw_app.x").info("Decision %d is saved.", 7, extra={"decision_id": 7})
    (record,) = objects(output)
    moment = datetime.fromisoformat(record.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert record == {
        "level": "INFO",
        "logger": "nsfw_app.x",
        "message": "Decision 7 is saved.",
        "decision_id": 7,
    }


def test_a_traceback_is_a_field_of_its_record(output: io.StringIO) -> None:
    """So that each line stays one object."""
    server_log.configure("json", "info")
    try:
        raise ValueError("wrong\nin two lines")
    except ValueError:
        logging.getLogger("nsfw_app").exception("Failed.")
    (record,) = objects(output)
    assert record["message"] == "Failed."
    assert "ValueError: wrong" in record["exc_info"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_records_have_the_request_also_in_other_threads(
    log_format: str, output: io.StringIO
) -> None:
    """A thread that runs in a copy of the request's context logs its id and caller; others none."""
    server_log.configure(log_format, "info")  # type: ignore[arg-type]
    log = logging.getLogger("nsfw_app")

    def serve() -> None:
        server_log.set_request(LoggedRequest("r-1", "ann"))
        context = copy_context()
        worker = threading.Thread(target=context.run, args=[log.info, "inside"])
        worker.start()
        worker.join()

    copy_context().run(serve)
    log.info("outside")
    inside, outside = output.getvalue().splitlines()
    assert "r-1" in inside
    assert "ann" in inside
    assert "r-1" not in outside
    if log_format == "json":
        assert json.loads(inside)["request_id"] == "r-1"
        assert json.loads(inside)["caller"] == "ann"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_records_below_the_level_are_left_out(level: str, output: io.StringIO) -> None:
    """Of this program; of libraries, warnings and errors are logged at every level."""
    server_log.configure("json", level)  # type: ignore[arg-type]
    for name in ("nsfw_app.x", "other"):
        for severity in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), severity)(severity)
    found = [(record["logger"], record["message"]) for record in objects(output)]
    levels = ["debug", "info", "warning", "error"]
    own = levels[levels.index(level) :]
    assert [message for name, message in found if name == "nsfw_app.x"] == own
    assert [message for name, message in found if name == "other"] == ["warning", "error"]


def test_a_library_with_its_own_handler_is_logged_once(output: io.StringIO) -> None:
    """Its handler is replaced, so that its records have the format of all others."""
    library = logging.getLogger(LIBRARY)
    library.addHandler(logging.StreamHandler(output))
    library.propagate = False
    server_log.configure("json", "info")
    library.warning("It retries.")
    assert [record["message"] for record in objects(output)] == ["It retries."]


def test_printed_lines_become_records(output: io.StringIO) -> None:
    """With JSON; of a progress bar only its last state."""
    server_log.configure("json", "info")
    print("Page: http://127.0.0.1")
    print("\r 10 %\r 100 %", file=sys.stderr)
    print("no end", end="")
    found = [(record["logger"], record["message"]) for record in objects(output)]
    assert found == [("stdout", "Page: http://127.0.0.1"), ("stderr", "100 %")]


def test_an_error_of_the_log_itself_does_not_loop(output: io.StringIO) -> None:
    """A record that cannot be formatted is reported by `logging` without another record."""
    server_log.configure("json", "info")
    print("%s", file=sys.stderr)
    logging.getLogger("nsfw_app").info("%d", "no number")
    assert output.getvalue().count("\n") < 50


def test_text_has_the_request_at_the_end_of_the_line() -> None:
    """Time, level, logger and message first, in one line."""
    record = logging.LogRecord("nsfw_app", logging.WARNING, "x.py", 1, "It %s.", ("failed",), None)
    record.created, record.request_id = 0.0, "r-1"
    line = TextFormatter().format(record)
    assert line == "1970-01-01T00:00:00.000+00:00 WARNING nsfw_app: It failed. [request_id=r-1]"


def test_a_standard_stream_is_text_that_can_be_written() -> None:
    """Libraries ask for its encoding, and whether it is a terminal."""
    stream = LoggedLines("stdout", logging.INFO)
    assert (stream.encoding, stream.isatty(), stream.writable()) == ("utf-8", False, True)
    assert json_formatter().format(logging.LogRecord("a", 20, "x", 1, "b", None, None))
