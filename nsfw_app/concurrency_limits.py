"""Concurrency limits: how many requests, images and threads each stage of a request admits.

In the order in which a request meets them:

    backlog -> request slots -> threads -> model queue -> batch -> CPU slots

- A stage that is full waits (backlog, threads, CPU slots) or refuses with 429 or 503 (the others).
- One caller holds at most a quarter of the request slots.
- Every number is derived here: those of a server from `NSFW_MAX_WAITING`, `NSFW_BATCH_SIZE` and
  `NSFW_THREADS`, the images in flight of a command from the model that it runs.
"""

from dataclasses import dataclass

from nsfw_app.settings import Settings

BACKLOG = 2048  # uvicorn's default
GRADIO_QUEUE = 256  # calls that wait in Gradio's queue; they take milliseconds each
CALLERS = 4  # callers that can use up a resource together
PAGE_UPLOADS = 2  # one file is classified while the next is sent


@dataclass(frozen=True, slots=True)
class ConcurrencyLimits:
    """The limits of one server.

    Attributes:
        backlog: TCP connections that the kernel keeps until the server accepts them.
        request_slots: Requests whose bodies arrive, and as many that are classified.
        caller_slots: Request slots of one caller.
        page_uploads: Files that one page sends at the same time.
        threads: Images that are decoded, classified and stored for requests at the same time.
        model_queue: Images that wait for the model.
        batch: Images in one batch.
        cpu_slots: CPU threads that decoding and the model share.
    """

    backlog: int
    request_slots: int
    caller_slots: int
    page_uploads: int
    threads: int
    model_queue: int
    batch: int
    cpu_slots: int


def concurrency_limits(settings: Settings) -> ConcurrencyLimits:
    """Derive all limits from the settings."""
    slots, batch, cpu_slots = settings.max_waiting, settings.batch_size, settings.threads
    return ConcurrencyLimits(
        backlog=BACKLOG,
        request_slots=slots,
        caller_slots=quarter(slots),
        page_uploads=min(PAGE_UPLOADS, quarter(slots)),
        # One batch is prepared while another is computed, or some images are stored at that time.
        threads=2 * max(batch, cpu_slots),
        model_queue=slots,
        batch=batch,
        cpu_slots=cpu_slots,
    )


def quarter(total: int) -> int:
    """The part of a resource that one caller may hold, at least one."""
    return max(1, total // CALLERS)


def in_flight_batched(batch: int) -> int:
    """Images in flight with batches: a whole one is prepared while another is computed.

    With fewer, every other batch would be small.
    """
    return 2 * batch


def in_flight_unbatched(max_concurrency: int) -> int:
    """Images in flight without batches: some are decoded or stored while others are computed."""
    return 2 * max_concurrency
