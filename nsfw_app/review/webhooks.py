"""Sends due webhook messages, and decides when to retry failed ones (`BACKOFF`).

- Messages follow the Standard Webhooks specification: JSON with a type and data, signed with HMAC
  over id, time and body, so that its libraries verify them.
- A failed message is retried with growing delays. A receiver may get it twice, with the same id.
- Status 410 Gone ends all deliveries to that URL until the key's webhook is restarted.
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

SENDERS = 4  # a slow receiver occupies one of them
TIMEOUT_S = 10.0
POLL_S = 1.0
# Waits between attempts, about a day in all; the specification's own example.
BACKOFF = tuple(timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400))
GONE = 410


class WebhookSender:
    """Sends due messages in background threads, one message at a time to each URL.

    Args:
        deliveries: The messages.
        backoff: The delay after each failed attempt; after the last one the message is dropped.
    """

    def __init__(self, deliveries: Deliveries, *, backoff: tuple[timedelta, ...] = BACKOFF) -> None:
        self._deliveries = deliveries
        self._backoff = backoff
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # URLs that a message is being sent to

    def start(self) -> None:
        """Start the background threads."""
        for number in range(SENDERS):
            name = f"webhooks-{number}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Stop sending."""
        self._stopped.set()

    def send_due(self) -> int:
        """Send the messages that are due; return the number of attempts."""
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
        """Created with the first message, because reading the certificates takes a while."""
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
            except Exception:  # an error in one message must not end the thread
                log.exception("Sending a webhook message failed.")

    def _take(self) -> Delivery | None:
        """Take the message that has been due longest, to a URL that no thread is sending to."""
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
            with self._client.stream(
                "POST", delivery.url, content=body, headers=signed
            ) as response:
                status, arrived = response.status_code, response.is_success  # no body is read
        except SecretError as error:
            self._failed(delivery, None, str(error))
            return
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError) as error:
            self._failed(delivery, None, f"{type(error).__name__}: {error}")
            return
        if status == GONE:
            log.error(
                "A webhook responded with status 410; it gets no more messages.",
                extra={"delivery_id": delivery.delivery_id},
            )
            self._deliveries.gone(delivery, status=status)
        elif arrived:
            self._deliveries.delivered(delivery.delivery_id, status=status)
        else:
            self._failed(delivery, status, f"Status {status}")

    def _failed(self, delivery: Delivery, status: int | None, error: str) -> None:
        again = delivery.attempts <= len(self._backoff)
        # The address may hold a secret, and messages of the HTTP client have the address.
        reason = f"status {status}" if status else error.partition(":")[0]
        log.log(
            logging.WARNING if again else logging.ERROR,
            "A webhook message was not delivered (%s); it is %s.",
            reason,
            "sent again" if again else "given up",
            extra={"delivery_id": delivery.delivery_id, "attempts": delivery.attempts},
        )
        self._deliveries.failed(
            delivery.delivery_id,
            status=status,
            error=error,
            again_after=self._backoff[delivery.attempts - 1] if again else None,
        )


def message(delivery: Delivery) -> str:
    """The JSON body of a message: event, time, image, settled label and categories."""
    return json.dumps(
        {
            "type": delivery.event,
            "timestamp": delivery.created_at,
            "data": {
                "id": delivery.submission_id,
                "name": delivery.name,
                "sha256": delivery.image_sha256,
                "label": delivery.label,
                "categories": delivery.categories,
            },
        }
    )


def signature(delivery: Delivery, body: str, *, secret: str, moment: datetime) -> dict[str, str]:
    """The headers with which a receiver verifies a message."""
    return {
        "content-type": "application/json",
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery.delivery_id, moment, body),
    }
