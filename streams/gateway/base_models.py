"""The base models that workers serve: the workers topic."""

from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import WorkerState
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader


class BaseModels:
    """Names of the base models, as the workers' last states say."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._codec = codec
        self._by_worker: dict[bytes, WorkerState] = {}
        self._reader = TableReader(settings, [settings.topics.workers], self._on_record)

    async def start(self) -> None:
        """Returns when the workers of the last day are known. Raises: KafkaError."""
        await self._reader.start()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    def names(self) -> list[str]:
        """Each name once, in order."""
        return sorted({state.base_model.name for state in self._by_worker.values()})

    def states(self) -> list[WorkerState]:
        """What each worker of the last day has said last."""
        return list(self._by_worker.values())

    def _on_record(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            self._by_worker.pop(key, None)
            return
        try:
            self._by_worker[key] = self._codec.decode(WorkerState, value)
        except DecodeError:
            # The routers keep it as a dead letter.
            return
