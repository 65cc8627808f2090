"""How fast requests may be sent: evenly over the minute, and not at all while told to wait."""

import asyncio
import time


class Pace:
    """Requests and tokens per minute; 0 = as many as come.

    Evenly spaced instead of in bursts, so that no minute, wherever a server lets it begin, holds
    more than is allowed.
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
            # Told to wait in the meantime: queue again, or all who wait would go at once.
            if time.monotonic() >= self._closed_until:
                return

    def wait(self, seconds: float) -> None:
        """Nobody sends for so long: the server said so (429 with retry-after)."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
