"""What is left of a key's limits. Pure: the time is passed in, as seconds since 1970.

Requests flow into a bucket of one minute's worth; tokens are counted by UTC days, when their
answer is there or left, so a day's last answers may exceed it.
"""

from dataclasses import dataclass
from math import ceil, floor

from streams.gateway.access.keys import Key
from streams.gateway.failures import LimitReached, QuotaExhausted

_DAY = 24 * 3600


@dataclass(slots=True)
class Budget:
    """Of one key, as this process has counted it since its start."""

    at_once: int = 0
    _level: float | None = None
    _filled_at: float = 0.0
    _day: int = 0
    _tokens: int = 0

    def take(self, key: Key, now: float) -> None:
        """A request more is under way, until `release`. Raises: LimitReached, QuotaExhausted."""
        self._refresh(key, now)
        if key.most_at_once is not None and self.at_once >= key.most_at_once:
            raise LimitReached(
                f"As many queries of this key are under way as are allowed: {key.most_at_once}.",
                1.0,
                self.headers(key, now),
            )
        if key.tokens_per_day is not None and self._tokens >= key.tokens_per_day:
            raise QuotaExhausted(
                f"The {key.tokens_per_day:,} tokens of this key's day are used up.",
                _seconds_of_day_left(now),
                self.headers(key, now),
            )
        if self._level is not None and key.requests_per_minute is not None:
            if self._level < 1:
                wait = (1 - self._level) * 60 / key.requests_per_minute
                raise LimitReached(
                    f"{key.requests_per_minute} requests a minute are allowed for this key.",
                    wait,
                    self.headers(key, now),
                )
            self._level -= 1
        self.at_once += 1

    def release(self) -> None:
        """A request is over."""
        self.at_once -= 1

    def spend(self, tokens: int, now: float) -> None:
        """Tokens that an answer took."""
        self._begin_day(now)
        self._tokens += tokens

    def headers(self, key: Key, now: float) -> dict[str, str]:
        """OpenAI's x-ratelimit-* headers, of the limits that the key has."""
        self._refresh(key, now)
        told: dict[str, str] = {}
        if key.requests_per_minute is not None and self._level is not None:
            missing = key.requests_per_minute - self._level
            told |= _told(
                "requests",
                key.requests_per_minute,
                floor(self._level),
                missing * 60 / key.requests_per_minute,
            )
        if key.tokens_per_day is not None:
            left = max(0, key.tokens_per_day - self._tokens)
            told |= _told("tokens", key.tokens_per_day, left, _seconds_of_day_left(now))
        return told

    def _refresh(self, key: Key, now: float) -> None:
        self._begin_day(now)
        most = key.requests_per_minute
        if most is None:
            self._level = None
            return
        level = most if self._level is None else self._level
        gained = max(0.0, now - self._filled_at) * most / 60
        self._level = min(most, level + gained)
        self._filled_at = now

    def _begin_day(self, now: float) -> None:
        day = int(now // _DAY)
        if day != self._day:
            self._day, self._tokens = day, 0


def _seconds_of_day_left(now: float) -> float:
    return _DAY - now % _DAY


def _told(what: str, most: int, left: int, seconds: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(most),
        f"x-ratelimit-remaining-{what}": str(left),
        f"x-ratelimit-reset-{what}": span_text(seconds),
    }


def span_text(seconds: float) -> str:
    """As OpenAI writes it: 6m0s, 1h0m0s, 20ms."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{rest}s"
