"""Scripted reviewers with the protocol of the page, and what they know about each other's leases.

- A reviewer signs in, opens the page, claims up to ten entries ahead, is sent the preview of the
  first, thinks, and decides with a nonce; some images are skipped, escalated, or undone.
- A lease is the reviewer's from the response to the claim until the request that gives it up is
  sent. An entry that another reviewer claims in this time was leased twice.
"""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

MAX_LEASES = 10  # as in ui/assets/queue/queue.js, like the next three
REFILL_AT = 7
RENEW_S = 120.0
POLL_S = 10.0
ALARMS_S = 60.0  # as in ui/assets/insights/alarmNotice.js
RELOAD_S = 120.0  # how often a reviewer opens the page again
RETRIES = 3  # of a decision, with the same nonce
TIMEOUT_S = 30.0
SKIPPED, ESCALATED, UNDONE, AGAINST = 0.03, 0.01, 0.02, 0.05  # shares of images
KEYS = ("model", "revision", "backend")


class RequestRefused(Exception):
    """The server refused a request; the message is its kind."""


@dataclass
class Shift:
    """What all reviewers of a run share: measurements and findings.

    Attributes:
        seconds: Durations of requests by what was requested.
        refusals: Refused requests, by what was requested and the kind of the error.
        decided: Acknowledged decisions: their ids by nonce.
        undone: Ids of decisions whose undo was acknowledged.
        unacknowledged: Nonces that were sent without any response.
        holders: The reviewer who holds each entry.
        doubled: Entries that two reviewers held at once.
        claimed: How many leases were given.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refusals: Counter[str] = field(default_factory=Counter)
    decided: dict[str, int] = field(default_factory=dict)
    undone: set[int] = field(default_factory=set)
    unacknowledged: set[str] = field(default_factory=set)
    holders: dict[int, str] = field(default_factory=dict)
    doubled: list[int] = field(default_factory=list)
    claimed: int = 0

    def hold(self, entry_id: int, reviewer: str) -> None:
        """A claim returned an entry to a reviewer."""
        self.claimed += 1
        if self.holders.setdefault(entry_id, reviewer) != reviewer:
            self.doubled.append(entry_id)
            self.holders[entry_id] = reviewer

    def give_up(self, entry_id: int, reviewer: str) -> None:
        """A reviewer sends the request that ends a lease."""
        if self.holders.get(entry_id) == reviewer:
            del self.holders[entry_id]


class ReviewerClient:
    """One reviewer at one browser.

    Args:
        url: The server.
        name: The reviewer's name.
        password: Their password.
        address: The client address that the reverse proxy reports.
        pace_s: Mean seconds for an image; each takes between half and one and a half of it.
        shift: Takes measurements.
    """

    def __init__(
        self, url: str, name: str, password: str, *, address: str, pace_s: float, shift: Shift
    ) -> None:
        self._url, self._name, self._password = url, name, password
        self._headers = {"x-forwarded-for": address, "origin": url, "nsfw-reviewer": name}
        self._pace_s, self._shift = pace_s, shift
        self._random = random.Random(name)  # repeatable, no secret
        self._items: list[dict[str, Any]] = []
        self._leaving: set[int] = set()
        self._number = 0
        self._background: set[asyncio.Task[None]] = set()
        self._claiming = False

    async def run(self, seconds: float, signed_in: asyncio.Barrier) -> None:
        """Sign in, wait until all others have, work for some seconds, and return the leases.

        A reviewer begins within the time of one image after the others.
        """
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(
            self._url,
            headers=self._headers,
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=6),  # connections of a browser to one host
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # the host is an address
        ) as self._session:
            await self._sign_in()
            with suppress(RequestRefused):  # as on a server that has run for a while
                await self._open_page()
                await self._ask_for_alarms()
            await signed_in.wait()
            end = time.monotonic() + seconds
            await asyncio.sleep(self._random.uniform(0, self._pace_s))
            timers = [
                asyncio.create_task(self._every(RENEW_S, self._renew)),
                asyncio.create_task(self._every(POLL_S, self._poll)),
                asyncio.create_task(self._every(ALARMS_S, self._ask_for_alarms)),
                asyncio.create_task(self._every(RELOAD_S, self._open_page)),
            ]
            try:
                while time.monotonic() < end:
                    await self._review_next()
            finally:
                for timer in timers:
                    timer.cancel()
                await asyncio.gather(*timers, *self._background, return_exceptions=True)
                await self._release()

    async def _sign_in(self) -> None:
        form = {"username": self._name, "password": self._password}
        for _ in range(100):  # sign-ins are checked one after the other, a part of them waits
            with suppress(RequestRefused):
                await self._request("sign_in", "POST", "/login", data=form)
                return
            await asyncio.sleep(self._random.uniform(0.5, 2))
        raise RuntimeError(f"{self._name} cannot sign in: {dict(self._shift.refusals)}")

    async def _open_page(self) -> None:
        await self._request("page", "GET", "/", headers={"accept": "text/html"})
        await self._request("status", "GET", "/desk/status")
        await self._request("recent", "GET", "/desk/recent")

    async def _poll(self) -> None:
        await self._request("summary", "GET", "/desk/queue/summary")

    async def _ask_for_alarms(self) -> None:
        await self._request("alarms", "GET", "/desk/insights/alarms")

    async def _renew(self) -> None:
        entries = [item["entry_id"] for item in self._items]
        await self._request("renew", "POST", "/desk/queue/renew", json={"entries": entries})

    async def _release(self) -> None:
        entries = [item["entry_id"] for item in self._items]
        for entry_id in entries:
            self._shift.give_up(entry_id, self._name)
        with suppress(RequestRefused):
            await self._request("release", "POST", "/desk/queue/release", json={"entries": entries})

    async def _review_next(self) -> None:
        await self._fill()
        if not self._items:
            await asyncio.sleep(self._pace_s / 2)
            return
        item = self._items[0]
        with suppress(RequestRefused):
            await self._request("preview", "GET", f"/desk/images/{item['sha256']}/picture")
        await asyncio.sleep(self._pace_s * self._random.uniform(0.5, 1.5))
        self._items.pop(0)
        self._leaving.add(item["entry_id"])  # not to be claimed again until then
        self._shift.give_up(item["entry_id"], self._name)
        # The next image is on screen while this request is sent.
        task = asyncio.create_task(self._leave(item))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _leave(self, item: dict[str, Any]) -> None:
        """Decide an image, skip it, or request a second opinion."""
        entry_id, draw = item["entry_id"], self._random.random()
        try:
            if draw < SKIPPED:
                await self._request("skip", "POST", f"/desk/queue/{entry_id}/skip")
            elif draw < SKIPPED + ESCALATED:
                body = {"image_sha256": item["sha256"], **{key: item[key] for key in KEYS}}
                await self._request("escalate", "POST", "/desk/queue/second-opinion", json=body)
            else:
                await self._decide(item, undo=draw > 1 - UNDONE)
        except RequestRefused:
            pass  # counted
        finally:
            self._leaving.discard(entry_id)

    async def _decide(self, item: dict[str, Any], *, undo: bool) -> None:
        self._number += 1
        nonce = f"{self._name}-{time.time_ns()}-{self._number}"
        label = item["label"] or self._random.choice(("normal", "nsfw"))
        if self._random.random() < AGAINST:
            label = "normal" if label == "nsfw" else "nsfw"
        body = {
            "nonce": nonce,
            "image_sha256": item["sha256"],
            "label": label,
            "threshold": item["threshold"],
            **{key: item[key] for key in KEYS},
            "name": item["name"],
            "entry_id": item["entry_id"],
            "elapsed_ms": round(1_000 * self._pace_s),
            "seen": True,
            "seen_ms": round(500 * self._pace_s),
            "tab": "queue",
        }
        self._shift.unacknowledged.add(nonce)
        decision = await self._repeated("decision", "/desk/decisions", body)
        self._shift.decided[nonce] = decision["decision_id"]
        self._shift.unacknowledged.discard(nonce)
        if undo:
            path = f"/desk/decisions/{decision['decision_id']}/undo"
            await self._repeated("undo", path, {"nonce": f"{nonce}-undo"})
            self._shift.undone.add(decision["decision_id"])

    async def _fill(self) -> None:
        if self._claiming or len(self._items) > REFILL_AT:
            return
        self._claiming = True
        body = {
            "count": MAX_LEASES - len(self._items),
            "holding": [*(item["entry_id"] for item in self._items), *self._leaving],
            "order": "priority",
        }
        try:
            claimed = await self._request("claim", "POST", "/desk/queue/claim", json=body)
        except RequestRefused:
            return
        finally:
            self._claiming = False
        for item in claimed["items"]:
            self._shift.hold(item["entry_id"], self._name)
            self._items.append(item)

    async def _repeated(self, what: str, path: str, body: dict[str, Any]) -> Any:
        """Send a request again, as the page does, where no response arrived or the server is busy.

        Raises:
            RequestRefused: The server refused it, or did not respond.
        """
        for attempt in range(RETRIES):
            try:
                return await self._request(what, "POST", path, json=body)
            except RequestRefused as error:
                again = str(error).startswith(("no_response", "50"))
                if attempt == RETRIES - 1 or not again:
                    raise
        return None

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds * self._random.random())
        while True:
            with suppress(RequestRefused):
                await act()
            await asyncio.sleep(seconds)

    async def _request(self, what: str, method: str, path: str, **options: Any) -> Any:
        """The content of a response; its time is measured until its last byte.

        Raises:
            RequestRefused: The status is not 200, or there is no response.
        """
        started = time.perf_counter()
        try:
            async with self._session.request(method, path, **options) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._shift.refusals[f"{what}: {type(error).__name__}"] += 1
            raise RequestRefused("no_response") from error
        self._shift.seconds[what].append(time.perf_counter() - started)
        is_json = response.content_type == "application/json"
        if response.status != 200:
            kind = json.loads(data)["error"]["kind"] if is_json else ""
            self._shift.refusals[f"{what}: {response.status} {kind}"] += 1
            raise RequestRefused(f"{response.status} {kind}")
        return json.loads(data) if is_json else data
