"""Sends webhook messages when the state of a submitted image changes.

- Messages follow the Standard Webhooks specification: JSON with a type and data, signed with HMAC
  over id, time and body, so that its libraries verify them.
- One that fails is sent again with growing delays. A receiver may get it twice, with the same id.
- Status 410 Gone ends all deliveries to that address until the key's webhook is restarted.
"""

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from functools import cached_property

import httpx2
from standardwebhooks import Webhook

from nsfw_app.errors import SecretError, StorageError
from nsfw_app.store.deliveries import Deliveries, Delivery

log = logging.getLogger(__name__)

SENDERS = 4  # a receiver that is slow to answer keeps one of them busy
TIMEOUT_S = 10.0
POLL_S = 1.0
# Waits between attempts, about a day in all; the specification's own example.
BACKOFF = tuple(timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400))
GONE = 410


class WebhookSender:
    """Sends what is due, in threads of its own, to each address one message at a time.

    Args:
        deliveries: The messages.
        backoff: How long to wait after each attempt that failed; after the last, no more.
    """

    def __init__(self, deliveries: Deliveries, *, backoff: tuple[timedelta, ...] = BACKOFF) -> None:
        self._deliveries = deliveries
        self._backoff = backoff
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # addresses that are being spoken to

    def start(self) -> None:
        """Begin to send, beside whatever else runs."""
        for number in range(SENDERS):
            name = f"webhooks-{number}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()

    def send_due(self) -> int:
        """Send what is due now; how many attempts that were."""
        attempts = 0
        while delivery := self._take():
            try:
                self._attempt(delivery)
            finally:
                with self._lock:
                    self._busy.remove(delivery.url)
            attempts += 1
        return attempts

    @cached_property
    def _client(self) -> httpx2.Client:
        """Made when there is something to send: reading the certificates takes a while."""
        return httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def _run(self) -> None:
        pause_s = POLL_S
        while not self._stopped.wait(pause_s):
            pause_s = POLL_S
            try:
                self.send_due()
            except StorageError as error:
                log.warning("Webhook messages wait: %s (%s)", error.kind, error.__cause__)
                pause_s = error.retry_after_s
            except Exception:  # no fault of one message may end the thread
                log.exception("Sending webhooks failed; it goes on.")

    def _take(self) -> Delivery | None:
        """The message that is due longest, to an address that nobody else is speaking to."""
        with self._lock:
            delivery = self._deliveries.take(
                again_after=2 * timedelta(seconds=TIMEOUT_S), busy=self._busy
            )
            if delivery:
                self._busy.add(delivery.url)
            return delivery

    def _attempt(self, delivery: Delivery) -> None:
        try:
            body = message(delivery)
            secret = self._deliveries.signing_secret(delivery)
            signed = signature(delivery, body, secret=secret, moment=datetime.now(UTC))
            with self._client.stream("POST", delivery.url, content=body, headers=signed) as answer:
                status, arrived = answer.status_code, answer.is_success  # and no body is read
        except SecretError as error:
            self._failed(delivery, None, str(error))
            return
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError) as error:
            self._failed(delivery, None, f"{type(error).__name__}: {error}")
            return
        if status == GONE:
            self._deliveries.gone(delivery, status=status)
        elif arrived:
            self._deliveries.delivered(delivery.delivery_id, status=status)
        else:
            self._failed(delivery, status, f"Status {status}")

    def _failed(self, delivery: Delivery, status: int | None, error: str) -> None:
        more = delivery.attempts <= len(self._backoff)
        self._deliveries.failed(
            delivery.delivery_id,
            status=status,
            error=error,
            again_after=self._backoff[delivery.attempts - 1] if more else None,
        )


def message(delivery: Delivery) -> str:
    """The body that is sent: what happened, when, to which image, and the settled label."""
    return json.dumps(
        {
            "type": delivery.event,
            "timestamp": delivery.created_at,
            "data": {
                "id": delivery.submission_id,
                "name": delivery.name,
                "sha256": delivery.image_sha256,
                "label": delivery.label,
            },
        }
    )


def signature(delivery: Delivery, body: str, *, secret: str, moment: datetime) -> dict[str, str]:
    """The headers by which a receiver knows that a message is ours."""
    return {
        "content-type": "application/json",
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery.delivery_id, moment, body),
    }
