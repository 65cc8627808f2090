"""The keys of config.teacher."""

import dataclasses
import json
import os
import urllib.parse
from typing import Any, NamedTuple

from distill_jax.errors import UserError
from distill_jax.settings import ranges

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # sent to servers that need no key
LEFT_OUT = -1.0  # a temperature or top_p that is not sent


class Spending(NamedTuple):
    """Whether a command may ask a teacher.

    allowed  whether at all; if not, only what is in the cache is used
    yes      without confirmation at the terminal
    """

    allowed: bool = False
    yes: bool = False


NOTHING = Spending()


@dataclasses.dataclass(frozen=True)
class TeacherSettings:
    """The keys of config.teacher, with their meaning in configs/base.py."""

    model: str
    base_url: str
    api: str
    prompt: str
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    max_tokens_name: str
    reasoning: str
    extra: str
    concurrency: int
    requests_per_minute: int
    tokens_per_minute: int
    timeout_s: float
    retries: int
    price_input: float
    price_output: float
    cache_dir: str

    def url(self) -> str:
        """The server's address: the config's, or else the environment's, or else OpenAI's.

        Raises UserError if that is not an address.
        """
        url = self.base_url or os.environ.get("OPENAI_BASE_URL", "") or OPENAI
        if not _is_address(url):
            raise UserError(
                f"config.teacher.base_url={url.rpartition('@')[2]!r} (or OPENAI_BASE_URL): an "
                "address such as http://localhost:8000/v1 is expected"
            )
        return url

    def shown_url(self) -> str:
        """`url` as it may be printed: without a name, password or key in it."""
        parts = urllib.parse.urlsplit(self.url())
        host = parts.netloc.rpartition("@")[2]
        return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))

    def key(self) -> str:
        """OPENAI_API_KEY without white space around it. Servers other than OpenAI's may need none.

        Raises UserError if OpenAI's server has none, and if it cannot be in an HTTP header.
        """
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key and self.url().startswith(OPENAI):
            raise UserError(
                "OPENAI_API_KEY is not set: export it, or set --config.teacher.base_url to another "
                "server, e.g. http://localhost:8000/v1"
            )
        if not all("!" <= character <= "~" for character in key):
            raise UserError(
                "OPENAI_API_KEY holds a space, a line break or a character that is not ASCII: "
                "export it again, as it was given to you"
            )
        return key or NO_KEY

    def parameters(self, stop: tuple[str, ...]) -> dict[str, Any]:
        """The parameters of every request.

        Raises UserError if `extra` is not a JSON object, or has a name that has its own key.
        """
        drawn = {"temperature": self.temperature, "top_p": self.top_p}
        parameters: dict[str, Any] = {
            name: value for name, value in drawn.items() if value != LEFT_OUT
        }
        parameters[self.max_tokens_name] = self.max_tokens
        if stop:
            parameters["stop"] = list(stop[:4])  # OpenAI takes four at most
        return parameters | self._extra(parameters)

    def _extra(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if not self.extra:
            return {}
        try:
            extra = json.loads(self.extra)
        except ValueError as error:
            raise UserError(f"config.teacher.extra is not JSON ({error})") from None
        if not isinstance(extra, dict):
            raise UserError('config.teacher.extra: a JSON object is expected, as in {"seed": 1}')
        own = {*parameters, "temperature", "top_p", "model", "messages", "prompt", "n", "stream"}
        taken = sorted(own & extra.keys())
        if taken:
            raise UserError(
                f"config.teacher.extra holds {', '.join(taken)}: set the keys of config.teacher "
                "instead (each sample is a separate request; answers are not streamed)"
            )
        return extra

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost, in the currency of the prices (which are per million)."""
        price = prompt_tokens * self.price_input + completion_tokens * self.price_output
        return price / 1_000_000


def _is_address(url: str) -> bool:
    try:
        return url.startswith(("http://", "https://")) and bool(urllib.parse.urlsplit(url).hostname)
    except ValueError:
        return False


def mistakes(teacher: Any) -> list[str]:
    """What is wrong with config.teacher. A temperature or top_p of -1 is left out of requests."""
    least = {"samples": 1, "max_tokens": 1, "concurrency": 1, "retries": 0}
    least |= {"requests_per_minute": 0, "tokens_per_minute": 0}
    least |= {"price_input": 0.0, "price_output": 0.0}
    choices = {"api": ("chat", "completions"), "reasoning": ("drop", "steps")}
    found = ranges.mistakes("teacher", teacher, least=least, choices=choices)
    if not (0.0 < teacher.top_p <= 1.0 or teacher.top_p == -1.0):
        found.append(f"config.teacher.top_p={teacher.top_p}: above 0, at most 1 (-1 leaves it out)")
    if teacher.temperature < 0.0 and teacher.temperature != -1.0:
        found.append(
            f"config.teacher.temperature={teacher.temperature}: must be at least 0 (-1 leaves it "
            "out)"
        )
    if teacher.timeout_s <= 0:
        found.append(f"config.teacher.timeout_s={teacher.timeout_s}: must be above 0")
    if teacher.samples > 1 and teacher.temperature == 0.0:
        found.append(
            f"config.teacher.samples={teacher.samples} at temperature 0 would all be the same: "
            "set config.teacher.temperature, e.g. 0.7"
        )
    return found
