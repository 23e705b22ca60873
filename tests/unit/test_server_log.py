"""The server's log: formats, fields of requests, records of libraries, lines that are printed."""

import atexit
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime, timedelta

import pytest

from nsfw_app import server_log
from nsfw_app.server_log import LoggedLines, LoggedRequest, TextFormatter, json_formatter
from nsfw_app.settings.monitoring import LogFormat, LogLevel

LIBRARY = "huggingface_hub"
LEVELS: list[LogLevel] = ["debug", "info", "warning", "error"]


@contextmanager
def logged(log_format: LogFormat = "json", level: LogLevel = "info") -> Iterator[io.StringIO]:
    """A configured log, and what it writes to standard error; all is as before at the end."""
    loggers = [logging.getLogger(name) for name in ("", "nsfw_app", LIBRARY)]
    before = [(each, each.handlers, each.level, each.propagate) for each in loggers]
    output, streams = io.StringIO(), (sys.stdout, sys.stderr)
    sys.stderr = output
    try:
        listener = server_log.configure(log_format, level)
        yield output
    finally:
        atexit.unregister(listener.stop)
        listener.stop()  # writes what waits
        sys.stdout, sys.stderr = streams
        logging.captureWarnings(False)
        for logger, handlers, severity, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(severity)


def objects(output: io.StringIO) -> list[dict]:
    """The records of a log in JSON."""
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_json_record_has_time_level_logger_and_message() -> None:
    """And its extra fields; the time is ISO 8601 in UTC."""
    with logged() as output:
        log = logging.getLogger("nsfw_app.x")
        log.info("Decision %d is saved.", 7, extra={"decision_id": 7})
    (record,) = objects(output)
    moment = datetime.fromisoformat(record.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert record == {
        "level": "INFO",
        "logger": "nsfw_app.x",
        "message": "Decision 7 is saved.",
        "decision_id": 7,
    }


def test_a_traceback_is_a_field_of_its_record() -> None:
    """So that each line stays one object."""
    with logged() as output:
        try:
            int("wrong\nin two lines")
        except ValueError:
            logging.getLogger("nsfw_app").exception("Failed.")
    (record,) = objects(output)
    assert record["message"] == "Failed."
    assert "ValueError: invalid" in record["exc_info"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_records_have_the_request_also_in_other_threads(log_format: LogFormat) -> None:
    """A thread that runs in a copy of the request's context logs its id and caller; others none."""
    log = logging.getLogger("nsfw_app")

    def serve() -> None:
        server_log.set_request(LoggedRequest("r-1", "ann"))
        context = copy_context()
        worker = threading.Thread(target=context.run, args=[log.info, "inside"])
        worker.start()
        worker.join()

    with logged(log_format) as output:
        copy_context().run(serve)
        log.info("outside")
    inside, outside = output.getvalue().splitlines()
    assert "r-1" in inside
    assert "ann" in inside
    assert "r-1" not in outside
    if log_format == "json":
        record = json.loads(inside)
        assert (record["request_id"], record["caller"]) == ("r-1", "ann")


@pytest.mark.parametrize("level", LEVELS)
def test_records_below_the_level_are_left_out(level: LogLevel) -> None:
    """Of this program; of libraries, warnings and errors are logged at every level."""
    with logged("json", level) as output:
        for name in ("nsfw_app.x", "other"):
            for severity in LEVELS:
                getattr(logging.getLogger(name), severity)(severity)
    found = [(record["logger"], record["message"]) for record in objects(output)]
    own = LEVELS[LEVELS.index(level) :]
    assert [message for name, message in found if name == "nsfw_app.x"] == own
    assert [message for name, message in found if name == "other"] == ["warning", "error"]


def test_a_library_with_its_own_handler_is_logged_once() -> None:
    """Its handler is replaced, so that its records have the format of all others."""
    library = logging.getLogger(LIBRARY)
    with logged() as output:
        library.handlers = [logging.StreamHandler(output)]
        library.propagate = False
        server_log.adopt_libraries()
        library.warning("It retries.")
    assert [record["message"] for record in objects(output)] == ["It retries."]


def test_printed_lines_become_records() -> None:
    """With JSON; of a progress bar only its last state."""
    with logged() as output:
        sys.stdout.write("Page: http://127.0.0.1\n")
        sys.stderr.write("\r 10 %\r 100 %\n")
        sys.stdout.write("no end")
    found = [(record["logger"], record["message"]) for record in objects(output)]
    assert found == [("stdout", "Page: http://127.0.0.1"), ("stderr", "100 %")]


def test_printed_lines_are_printed_in_text() -> None:
    """The address of the page stays readable."""
    stdout = sys.stdout
    with logged("text"):
        assert sys.stdout is stdout


def test_an_error_of_the_log_itself_does_not_loop() -> None:
    """A record that cannot be formatted is reported by `logging` without another record."""
    with logged() as output:
        logging.getLogger("nsfw_app").info("%d", "no number")
        logging.getLogger("nsfw_app").info("next")
    assert objects(output)[-1]["message"] == "next"


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
