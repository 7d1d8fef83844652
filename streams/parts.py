"""What is started, used for a while, and stopped again: one at a time, and several as one."""

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self, TypeVar


class Part(Protocol):
    """What its user starts and, when all is over, stops."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


P = TypeVar("P", bound=Part)


async def started(part: P, parts: AsyncExitStack) -> P:
    """The part, running, and stopped with the others when `parts` end.

    It is stopped, too, where its start fails.
    """
    parts.push_async_callback(part.stop)
    await part.start()
    return part


class Assembly(ABC):
    """An async context manager of several parts; those that ran are stopped, whatever fails."""

    def __init__(self) -> None:
        self._parts = AsyncExitStack()

    @abstractmethod
    async def open(self, parts: AsyncExitStack) -> None:
        """Starts everything; what `parts` hold at its end is undone when the block ends."""

    async def __aenter__(self) -> Self:
        """Raises what `open` does."""
        try:
            await self.open(self._parts)
        except BaseException:
            await self._parts.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._parts.aclose()
