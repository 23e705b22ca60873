"""Concurrency limits: how many requests, images and threads each stage of a request admits.

In the order in which a request meets them:

    backlog -> request slots -> threads -> model queue -> batch -> CPU slots

- A stage that is full waits (backlog, threads, CPU slots) or refuses with 429 or 503 (the others).
- One caller holds at most a quarter of the request slots.
- Every number is derived here, from `NSFW_MAX_WAITING`, `NSFW_BATCH_SIZE` and `NSFW_THREADS`.
"""

from dataclasses import dataclass

from nsfw_app.settings import Settings

BACKLOG = 2048  # uvicorn's default
GRADIO_QUEUE = 256  # calls that take milliseconds each
CALLERS = 4  # callers that can use up a resource together
PAGE_UPLOADS = 2  # one file is classified while the next is sent


@dataclass(frozen=True, slots=True)
class ConcurrencyLimits:
    """The limits of one server.

    Attributes:
        backlog: TCP connections that the kernel keeps until the server accepts them.
        gradio_queue: Calls that wait in Gradio's queue.
        request_slots: Requests whose bodies arrive, and as many that are classified.
        caller_slots: Request slots of one caller.
        page_uploads: Files that one page sends at the same time.
        threads: Images that are decoded, classified and stored for requests at the same time.
        model_queue: Images that wait for the model.
        in_flight_batched: Files that a command processes at the same time, with a backend that
            computes batches.
        in_flight_unbatched: The same with a backend that computes one image per thread.
        batch: Images in one batch.
        cpu_slots: CPU threads that decoding and the model share.
    """

    backlog: int
    gradio_queue: int
    request_slots: int
    caller_slots: int
    page_uploads: int
    threads: int
    model_queue: int
    in_flight_batched: int
    in_flight_unbatched: int
    batch: int
    cpu_slots: int


def concurrency_limits(settings: Settings) -> ConcurrencyLimits:
    """Derive all limits from the settings."""
    slots, batch, cpu_slots = settings.max_waiting, settings.batch_size, settings.threads
    return ConcurrencyLimits(
        backlog=BACKLOG,
        gradio_queue=GRADIO_QUEUE,
        request_slots=slots,
        caller_slots=quarter(slots),
        page_uploads=min(PAGE_UPLOADS, quarter(slots)),
        # One batch is prepared while another is computed, or some images are stored at that time.
        threads=2 * max(batch, cpu_slots),
        model_queue=slots,
        in_flight_batched=in_flight_batched(batch),
        in_flight_unbatched=in_flight_unbatched(cpu_slots),
        batch=batch,
        cpu_slots=cpu_slots,
    )


def quarter(total: int) -> int:
    """The part of a resource that one caller may hold, at least one."""
    return max(1, total // CALLERS)


def in_flight_batched(batch: int) -> int:
    """Images in flight with batches: half a batch is prepared while one is computed."""
    return batch + batch // 2


def in_flight_unbatched(max_concurrency: int) -> int:
    """Images in flight without batches: some are decoded or stored while others are computed."""
    return 2 * max_concurrency
