"""Translates errors of the Hugging Face Hub and of its client into those of this package.

The token is removed from every message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import parse_ratelimit_headers

from nsfw_app.dataset_errors import HubConflict, HubFailed, PushError, PushForbidden
from nsfw_app.datasets.locations import redacted

DETAIL_LENGTH = 300  # of what the hub or its client says
# What the client raises: of HTTP, of files, of malformed responses, of threads that upload.
FAILURES = (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError, RuntimeError)


@dataclass(frozen=True, slots=True)
class HubErrors:
    """Errors about a repository, whose name the messages have."""

    name: str
    token: str = field(repr=False)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate errors of the hub and of its client within the block."""
        try:
            yield
        except FAILURES as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> PushError:
        # A thread that uploads a file wraps what the hub said.
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, FAILURES):
            error = error.__cause__
        if isinstance(error, OfflineModeIsEnabled):
            return HubFailed("HF_HUB_OFFLINE forbids requests to the hub.")
        if isinstance(error, HfHubHTTPError):
            return self._refusal(error)
        if isinstance(error, httpx2.TransportError):
            return HubFailed(
                f"The hub at {redacted(huggingface_hub.constants.ENDPOINT)} cannot be reached, or "
                f"ended the connection: {self._detail(str(error))}"
            )
        return HubFailed(f"The upload to {self.name} failed: {self._detail(str(error))}")

    def _refusal(self, error: HfHubHTTPError) -> PushError:
        status = error.response.status_code
        owner = self.name.partition("/")[0]
        said = f" The hub says: {self._detail(text)}" if (text := error.server_message) else ""
        match status:
            case 401:
                return PushForbidden(
                    "The hub does not accept the token. Set HF_TOKEN to one with write access to "
                    f"{self.name}, or sign in with `hf auth login`.{said}"
                )
            case 403:
                return PushForbidden(
                    f"The token has no permission to write {self.name}, or the hub has no "
                    f"organization or user '{owner}'.{said}"
                )
            case 404:
                return PushForbidden(
                    f"The hub has no organization or user '{owner}', or does not show {self.name} "
                    f"with this token.{said}"
                )
            case 412:
                return HubConflict(f"{self.name} was changed during the upload. Try again.{said}")
        return HubFailed(
            f"The hub responded with status {status}. Try again later.{said}",
            retry_after_s=_retry_after_s(error.response),
        )

    def _detail(self, text: str) -> str:
        """One line of what hub or client say, without the token."""
        line = " ".join(text.replace(self.token, "(token)").split())
        line = line if len(line) <= DETAIL_LENGTH else f"{line[:DETAIL_LENGTH]}…"
        return line if line.endswith((".", "…")) else f"{line}."


def _retry_after_s(response: httpx2.Response) -> int | None:
    """When the hub allows the next request, by either of the headers that it sends."""
    limits = parse_ratelimit_headers(response.headers)
    if limits is not None and limits.remaining == 0:
        return limits.reset_in_seconds
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isascii() and value.isdigit() else None
