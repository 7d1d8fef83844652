"""Why adapters could not be loaded, kept for a while so that not every request tries again."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import AdapterCorrupt, AdapterUnavailable
from schemas.records import AdapterVersion, Artifact

#: Seconds for which a failure that may pass, such as a folder not mounted yet, is not tried again.
#: A request that meets it is tried again after that: see RequestError.retry_after_s.
RETRY_AFTER_S = 3.0
#: The same for files that are not what was registered, which somebody may put back: a look at them
#: reads all of them, and may fetch them.
LOOK_AGAIN_S = 300.0
#: Failures that are remembered; all of them travel with every heartbeat.
MOST_FAILURES = 256


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why, when, by the clock, and with which artifact a version could not be loaded."""

    error: AdapterUnavailable
    at: float
    artifact: Artifact | None


class Failures:
    """The last failure of each version, the newest of them; ``clock`` gives seconds."""

    def __init__(self, retry_after_s: float, clock: Callable[[], float]) -> None:
        self._retry_after_s = retry_after_s
        self._clock = clock
        # In order of time, the oldest first.
        self._failures: dict[str, _Failure] = {}

    def reasons(self) -> dict[str, str]:
        """In words, by key."""
        return {key: str(failure.error) for key, failure in self._failures.items()}

    def remember(self, version: AdapterVersion, error: AdapterUnavailable) -> None:
        """The error also says for how long it stays."""
        error.retry_after_s = self._retry_after_s
        self._failures.pop(version.key, None)
        while len(self._failures) >= MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[version.key] = _Failure(error, self._clock(), version.artifact)

    def forget(self, key: str) -> None:
        """It has been loaded."""
        self._failures.pop(key, None)

    def keep(self, is_wanted: Callable[[str], bool]) -> None:
        """Drops those of other versions, by their keys."""
        self._failures = {key: value for key, value in self._failures.items() if is_wanted(key)}

    def known(self, version: AdapterVersion) -> AdapterUnavailable | None:
        """What the next try would end with; for longer where the files are unsound."""
        failure = self._failures.get(version.key)
        if failure is None or failure.artifact != version.artifact:
            return None
        is_corrupt = isinstance(failure.error, AdapterCorrupt)
        stays = LOOK_AGAIN_S if is_corrupt else self._retry_after_s
        return failure.error if self._clock() - failure.at < stays else None
