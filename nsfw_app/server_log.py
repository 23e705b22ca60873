"""The server's log: records of this program and of its libraries, as lines of text or JSON.

- Each line that is logged while a request is served has the request's id and its caller. Worker
  threads inherit both, because they run in a copy of the request's context.
- Query strings, headers, bodies and names of images are in no record above debug.
- A thread writes them, so that no request waits for the output. A process that is killed loses the
  records of its last milliseconds.
- With JSON, lines that libraries print to standard output or error become records, too: each line
  of the log is one object.
"""

import atexit
import io
import logging
import logging.handlers
import queue
import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter

from nsfw_app.settings.monitoring import LogFormat, LogLevel

OWN_LOGGER = "nsfw_app"
# These add handlers of their own when they are imported.
LIBRARIES_WITH_HANDLERS = ("huggingface_hub", "transformers", "datasets", "uvicorn")
JSON_FIELDS = ("levelname", "name", "message")
RENAMED_FIELDS = {"levelname": "level", "name": "logger"}
REQUEST_FIELDS = ("request_id", "caller")
MAX_WAITING = 10_000  # records; then threads wait, while the output accepts none


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The request that is served. `caller` is empty while no caller is known."""

    request_id: str
    caller: str = ""


_REQUEST: ContextVar[LoggedRequest | None] = ContextVar("logged_request", default=None)


def set_request(request: LoggedRequest) -> None:
    """Add a request's id and caller to the records of this task, and of threads it calls."""
    _REQUEST.set(request)


def configure(log_format: LogFormat, level: LogLevel) -> logging.handlers.QueueListener:
    """Send every record of this process to standard error, in one format.

    Records of this program are logged from `level` on, those of libraries from warnings on: at
    info, HTTP clients log addresses with their query strings.

    Returns:
        The thread that writes records; it ends with the process.
    """
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(json_formatter() if log_format == "json" else TextFormatter())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING)
    handler = WaitingRecords(waiting)
    handler.addFilter(add_request)
    listener = logging.handlers.QueueListener(waiting, output)
    listener.start()
    atexit.register(listener.stop)  # which writes what waits
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN_LOGGER).setLevel(level.upper())
    logging.captureWarnings(True)
    adopt_libraries()
    if log_format == "json":
        sys.stdout = LoggedLines("stdout", logging.INFO)
        sys.stderr = LoggedLines("stderr", logging.WARNING)
    return listener


def adopt_libraries(names: Iterable[str] = LIBRARIES_WITH_HANDLERS) -> None:
    """Replace the handlers of libraries by this log's; again after others were imported."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True


class WaitingRecords(logging.handlers.QueueHandler):
    """Queues records for the thread that formats and writes them.

    Args:
        waiting: The queue.
    """

    def __init__(self, waiting: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(waiting)
        self._waiting = waiting

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record with its message, whose arguments may change later."""
        record.msg, record.args = record.getMessage(), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add a record; waits while too many wait."""
        self._waiting.put(record)


def json_formatter() -> logging.Formatter:
    """A formatter of records as JSON objects, with their extra fields."""
    return JsonFormatter(JSON_FIELDS, rename_fields=RENAMED_FIELDS, timestamp="time")


class TextFormatter(logging.Formatter):
    """Records as `TIME LEVEL LOGGER: MESSAGE [request_id=... caller=...]`, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; a traceback follows in further lines."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values = vars(record)
        about = " ".join(f"{name}={values[name]}" for name in REQUEST_FIELDS if values.get(name))
        line = f"{moment} {record.levelname} {record.name}: {record.getMessage()}"
        line = f"{line} [{about}]" if about else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class LoggedLines(io.TextIOBase):
    """A standard stream whose lines become records.

    Args:
        name: The logger of the records.
        level: Their level.
    """

    encoding = "utf-8"

    def __init__(self, name: str, level: int) -> None:
        self._logger = logging.getLogger(name)
        self._logger.setLevel(level)
        self._level = level
        self._local = threading.local()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Log each complete line; the rest waits for its end."""
        if getattr(self._local, "logging", False):  # logging itself reports an error
            return len(text)
        *lines, rest = (getattr(self._local, "rest", "") + text).split("\n")
        self._local.rest = rest.rpartition("\r")[2]  # of a progress bar, its last state
        self._local.logging = True
        try:
            for line in lines:
                if shown := line.rpartition("\r")[2].strip():
                    self._logger.log(self._level, "%s", shown)
        finally:
            self._local.logging = False
        return len(text)


def add_request(record: logging.LogRecord) -> bool:
    """Add the fields of the request that is served, where a record has none; a filter."""
    request = _REQUEST.get()
    if request is not None and not hasattr(record, "request_id"):
        record.request_id = request.request_id
        if request.caller:
            record.caller = request.caller
    return True
