"""A KRaft cluster of three nodes, each broker and controller; every record is on all of them."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from cli.stack import ports
from cli.stack.broker import BrokerSettings, new_id, start
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.processes import Processes
from cli.stack.readiness import broker_probe, wait_until_ready

NODES: Final = (1, 2, 3)
_READY_SECONDS = 120.0
_ASKING_SECONDS = 10.0
_COPIES = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # Leaders move when the test moves them.
    "auto.leader.rebalance.enable": "false",
    "replica.lag.time.max.ms": "5000",
}


class ThreeBrokers:
    """The nodes by their ids; each keeps its port over restarts."""

    def __init__(self, folder: Path) -> None:
        controllers = {node: ports.free_port() for node in NODES}
        cluster = new_id()
        voters = ",".join(f"{node}@{ports.LOOPBACK}:{controllers[node]}" for node in NODES)
        self._folders = {node: StackFolder(folder / str(node)) for node in NODES}
        self._settings = {
            node: BrokerSettings(
                self._folders[node].kafka_data,
                ports.free_port(),
                controllers[node],
                extra=_COPIES | {"node.id": str(node), "controller.quorum.voters": voters},
                cluster_id=cluster,
            )
            for node in NODES
        }
        self._records: dict[int, ProcessRecord] = {}
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    @property
    def address(self) -> str:
        """Bootstrap servers."""
        return ",".join(settings.address for settings in self._settings.values())

    def start_all(self) -> None:
        """Returns when every node answers and has every copy."""
        for node in NODES:
            self._start(node)
        self._wait(NODES)

    def kill(self, node: int) -> None:
        """SIGKILL: its leaders move once its session with the controllers has ended."""
        os.kill(self._records[node].pid, signal.SIGKILL)
        self._processes(node).stop({"kafka": self._records.pop(node)}, patience=10.0)

    def restart(self, node: int) -> None:
        """Returns when the node answers again and has caught up."""
        self._start(node)
        self._wait([node])
        self.await_copies()

    def leaders(self, topic: str) -> list[int]:
        """The leader of each of the topic's partitions; -1 for none."""
        found = self._admin.list_topics(topic, timeout=_ASKING_SECONDS).topics[topic]
        return [found.partitions[number].leader for number in sorted(found.partitions)]

    def elect_preferred(self) -> None:
        """Gives every partition back to the first of its replicas."""
        elected = self._admin.elect_leaders(ElectionType.PREFERRED, None)
        elected.result(_ASKING_SECONDS)

    def await_copies(self) -> None:
        """Returns when every partition has all its copies in sync."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_whole():
            assert time.monotonic() < deadline, "a copy did not catch up"
            time.sleep(0.2)

    def stop_all(self) -> None:
        """Ends every node, by force: nobody needs their files any more."""
        for node, record in self._records.items():
            self._processes(node).stop({"kafka": record}, patience=0.0)

    def _is_whole(self) -> bool:
        try:
            topics = self._admin.list_topics(timeout=_ASKING_SECONDS).topics.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(NODES) for t in topics for p in t.partitions.values())

    def _processes(self, node: int) -> Processes:
        return Processes(self._folders[node])

    def _start(self, node: int) -> None:
        self._records[node] = start(
            self._settings[node],
            self._processes(node),
            os.environ,
            starts_fast=True,
            ends_with_us=True,
        )

    def _wait(self, nodes: Sequence[int]) -> None:
        names = {f"node {node}": node for node in nodes}
        wait_until_ready(
            {name: broker_probe(self._settings[node].address) for name, node in names.items()},
            lambda name: (
                self._processes(names[name]).find("kafka", self._records[names[name]]) is not None
            ),
            timeout=_READY_SECONDS,
        )


@contextmanager
def three_brokers(folder: Path) -> Iterator[ThreeBrokers]:
    """A started cluster that ends with the block."""
    made = ThreeBrokers(folder)
    try:
        made.start_all()
        yield made
    finally:
        made.stop_all()
