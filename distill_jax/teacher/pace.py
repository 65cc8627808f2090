"""How fast requests may be sent: evenly over the minute, and not while the server asks to wait."""

import asyncio
import time


class Pace:
    """Requests and tokens per minute; 0 = no limit.

    Requests are evenly spaced, not in bursts, so that no minute has too many, whenever a server
    lets it begin.
    """

    def __init__(self, requests_per_minute: int, tokens_per_minute: int):
        self._gap = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        # By time.monotonic(): when the next request may be sent, and until when none may.
        self._next = self._closed_until = 0.0

    async def turn(self, tokens: float) -> None:
        """Return when a request of about `tokens` tokens (prompt and answer) may be sent."""
        while True:
            now = time.monotonic()
            mine = max(now, self._next, self._closed_until)
            self._next = mine + max(self._gap, tokens * self._seconds_per_token)
            if mine > now:
                await asyncio.sleep(mine - now)
            # The server has asked to wait meanwhile: queue again; otherwise all would be sent at
            # once.
            if time.monotonic() >= self._closed_until:
                return

    def wait(self, seconds: float) -> None:
        """Send nothing for so many seconds, because the server asked for it (429 with
        retry-after)."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
