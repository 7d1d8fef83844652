"""What the router does with a batch of query records: decode, select, write requests."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from schemas.codec import Codec
from schemas.errors import (
    ConfigurationError,
    DecodeError,
    InvalidRequest,
    RequestError,
    as_request_error,
)
from schemas.records import BASE, Origin, Query, Routing
from schemas.topics import Topics
from schemas.validation import is_answerable, validate_query
from streams.kafka.answers import error_response, from_timestamp, queue_ms, response_outputs
from streams.kafka.cancels import Cancellations
from streams.kafka.dead_letters.letter import dead_letter
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output, event_headers
from streams.kafka.writer_schemas import WriterSchemas
from streams.registry.reader import Registry
from streams.router.affinity import PartitionChoice
from streams.router.batching import Arrival
from streams.router.decisions import (
    Selected,
    check_deadline,
    claimed_id,
    completed,
    explicit_routing,
    needs_selection,
    request,
    selected_routing,
    selection_text,
    session_of,
    split_routing,
)
from streams.router.knowledge import Knowledge
from streams.router.observation import Observation
from streams.telemetry.attributes import routing_attributes
from streams.telemetry.metrics import RouterMetrics
from streams.telemetry.tracing import NoTracing, Trace, Tracing

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


@dataclass(slots=True)
class _Item:
    """One query on its way through a batch."""

    arrival: Arrival
    origin: Origin
    query: Query
    trace: Trace
    #: When it was read, as opposed to fetched (`perf_counter` seconds).
    read_at: float = 0.0
    routing: Routing | None = None
    error: RequestError | None = None

    @property
    def is_open(self) -> bool:
        return self.routing is None and self.error is None


class Router:
    """Turns query records into request records, or into error responses and dead letters."""

    def __init__(
        self,
        *,
        codec: Codec,
        topics: Topics,
        schemas: WriterSchemas,
        registry: Registry,
        knowledge: Knowledge,
        observation: Observation,
        cancellations: Cancellations,
        partitions: PartitionChoice,
        limits: SizeLimits,
        metrics: RouterMetrics,
        executor: Executor,
        name: str,
        tracing: Tracing | None = None,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._codec = codec
        self._topics = topics
        self._schemas = schemas
        self._registry = registry
        self._knowledge = knowledge
        self._observation = observation
        self._cancellations = cancellations
        self._partitions = partitions
        self._limits = limits
        self._metrics = metrics
        self._executor = executor
        self._name = name
        self._tracing = tracing or NoTracing()
        self._now = now

    async def work(self, arrivals: Sequence[Arrival]) -> list[Sequence[Output]]:
        """The outputs of each message of a batch; an error becomes an output, too.

        Raises ConfigurationError where nothing can be encoded any more.
        """
        items = [await self._read(arrival) for arrival in arrivals]
        for item in items:
            if item.is_open and not needs_selection(item.query):
                self._route_explicitly(item)
        await self._select([item for item in items if item.is_open])
        return [self._outputs(item) for item in items]

    async def _read(self, arrival: Arrival) -> _Item:
        message = arrival.message
        origin = Origin(message.topic, message.partition, message.offset)
        trace = self._tracing.begin(
            origin.topic, origin.partition, origin.offset, message.headers or (), arrival.at
        )
        item = _Item(arrival, origin, Query(), trace)
        try:
            item.query = await self._schemas.decode(Query, message.value or b"")
            self._validate(item)
            sent_at = from_timestamp(int(message.timestamp * 1000))
            item.query = completed(item.query, origin, sent_at)
            self._cancellations.check(item.query)
            check_deadline(item.query, self._now())
        except DecodeError as error:
            item.query = Query(id=claimed_id(message.value or b""))
            item.error = error
            self._metrics.count_decode_error(message.topic)
        except Exception as error:
            item.error = self._fault(item, error)
        item.read_at = perf_counter()
        trace.step("receive", arrival.at, item.read_at)
        return item

    def _validate(self, item: _Item) -> None:
        try:
            validate_query(item.query, self._topics)
        except InvalidRequest:
            if not is_answerable(item.query.id or ""):
                item.query = replace(item.query, id=None)  # so it goes by its place
            raise

    def _fault(self, item: _Item, error: Exception) -> RequestError:
        """What the client is told: no query may end the router, whatever is wrong with it."""
        if not isinstance(error, RequestError):
            log.error("routing %s failed", item.origin, exc_info=error)
        return as_request_error(error)

    def _route_explicitly(self, item: _Item) -> None:
        try:
            item.routing = explicit_routing(item.query, self._registry)
        except Exception as error:
            item.error = self._fault(item, error)

    async def _select(self, items: Sequence[_Item]) -> None:
        if not items:
            return
        texts = [selection_text(item.query) for item in items]
        languages = [item.query.language for item in items]
        loop = asyncio.get_running_loop()
        started = perf_counter()
        try:
            decisions = await loop.run_in_executor(
                self._executor, self._knowledge.select, texts, languages
            )
        except ConfigurationError:
            # No encoder any more: whoever takes the partitions over reads these queries again.
            raise
        except Exception as error:
            # One text that breaks the encoder must not take the others of its batch with it.
            if len(items) > 1:
                for item in items:
                    await self._select([item])
            else:
                items[0].error = self._fault(items[0], error)
            return
        self._metrics.observe_batch(len(items), perf_counter() - started)
        for item in items:
            item.trace.step("encode", started, None, {"messaging.batch.message_count": len(items)})
        routings = [selected_routing(decision) for decision in decisions]
        for item, routing in zip(items, routings, strict=True):
            item.routing = split_routing(routing, self._registry, session_of(item.query))
        origins = [item.origin for item in items]
        self._observation.observe(list(map(Selected, origins, texts, languages, routings)))

    def _outputs(self, item: _Item) -> Sequence[Output]:
        try:
            if item.error is None:
                return [self._request(item)]
        except Exception as error:
            item.error = self._fault(item, error)
        assert item.error is not None
        return self._limits.fitting(self._refusal(item, item.error))

    def _request(self, item: _Item) -> Output:
        message: Any = item.arrival.message
        assert item.routing is not None
        record = request(
            item.query,
            item.origin,
            item.routing,
            self._registry.revision,
            self._now(),
            item.arrival.at,
        )
        adapter = record.routing.adapter or BASE
        self._trace_routing(item, record.routing)
        headers = item.trace.hand_on(self._topics.requests, message.headers or ())
        output = Output(
            self._topics.requests,
            self._codec.encode(record),
            adapter.encode(),
            self._partitions.choose(adapter),
            event_headers("InferenceRequest", item.query.id or "", self._name, headers),
            on_committed=item.trace.end,
        )
        self._limits.check([output])
        self._metrics.observe_routing(record.routing, queue_ms(record))
        return output

    def _trace_routing(self, item: _Item, routing: Routing) -> None:
        if item.trace.is_recorded:
            item.trace.step("route", item.read_at, None, routing_attributes(routing))
            item.trace.describe({"messaging.message.id": item.query.id or ""})

    def _refusal(self, item: _Item, error: RequestError) -> list[Output]:
        message: Any = item.arrival.message
        headers = tuple(message.headers or ())
        response = error_response(
            error,
            item.query.id or str(item.origin),
            item.origin,
            now=self._now(),
            routing=item.routing,
            created_at=item.query.created_at,
        )
        self._metrics.observe(response)
        item.trace.fail(error.category)
        outputs = response_outputs(
            self._codec,
            self._topics,
            response,
            item.query,
            self._name,
            item.trace.hand_on(self._topics.responses, headers),
            item.trace.end,
        )
        if error.dead_letter:
            self._metrics.count_dead_letter(message.topic, error.category)
            outputs.append(
                dead_letter(
                    self._topics.dead_letters,
                    (message.topic, message.partition, message.offset),
                    message.key,
                    message.value,
                    headers,
                    error,
                    "router",
                    response,
                )
            )
        return outputs
