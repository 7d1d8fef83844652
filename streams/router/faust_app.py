"""The Faust application: what of Faust's defaults an exactly-once router can't live with."""

import logging
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver

from streams.router.settings import RouterSettings


class _ReadCommittedThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only, which Faust does in its own exactly-once mode alone."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class RouterApp(faust.App):
    """A Faust app without tables, web server, leader election or files of its own."""

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    def request_rejoin(self) -> None:
        """Asks for a new assignment: the one safe way back after a lost ownership."""
        thread = cast(Any, self.consumer)._thread
        coordinator = thread._ensure_consumer()._coordinator
        thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)


def make_app(settings: RouterSettings) -> RouterApp:
    """The app, with its driver told to read committed records only."""
    # mode's services log their life under the name of the class's module: ours.
    logging.getLogger(__name__).setLevel(logging.WARNING)
    servers = ";".join(f"kafka://{server}" for server in settings.kafka.split(","))
    app = RouterApp(
        settings.router_group,
        broker=servers,
        broker_credentials=_credentials(settings),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance,
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.session_timeout / 5,
        broker_request_timeout=max(
            settings.request_timeout_ms / 1000, settings.session_timeout + 1
        ),
        broker_rebalance_timeout=30.0,
        broker_max_poll_records=1024,
        broker_max_poll_interval=3600.0,
        # Offsets are committed in our transactions; Faust's own commits have nothing to do.
        broker_commit_interval=60.0,
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        stream_processing_timeout=3600.0,
        loghandlers=[],
    )
    app.transport = _Transport(app.conf.broker_consumer, app, app.loop)
    return app


def _credentials(settings: RouterSettings) -> Credentials | None:
    """What Faust's consumer and producer are both made with."""
    if settings.uses_sasl:
        return SASLCredentials(
            username=settings.kafka_username,
            password=settings.password,
            ssl_context=settings.ssl_context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return SSLCredentials(settings.ssl_context) if settings.uses_tls else None
