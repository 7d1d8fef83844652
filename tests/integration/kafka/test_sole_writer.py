"""Writers of which only one is at work: what the last one wrote is whole before the next begins."""

from typing import Any

import pytest

from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.settling import LastTransaction
from streams.kafka.sole_writer import SoleWriter
from streams.kafka.transactions import Fenced
from tests.integration.kafka.cluster import Cluster


async def test_a_start_ends_what_the_last_writer_wrote_once_more(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    topic = cluster.create("written", partitions=2)

    def ends() -> list[int]:
        return [cluster.log_range(topic, number)[1] for number in range(2)]

    first, second = (SoleWriter(kafka_settings, group, [topic, "nowhere"]) for _ in range(2))
    await first.start()
    assert ends() == [0, 0]
    await first.write([Output(topic, b"x", partition=0)])
    await first.stop()
    await second.start()
    # A record and its marker, and one everywhere.
    assert ends() == [3, 1]
    await second.write([Output(topic, b"y", partition=1)])
    await second.stop()
    assert [message.value() for message in cluster.read(topic)] == [b"x", b"y"]


@pytest.mark.parametrize("step", ["_repeat", "_is_ending"])
async def test_who_is_fenced_while_he_starts_is_told_when_he_writes(
    cluster: Cluster,
    kafka_settings: KafkaSettings,
    group: str,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Before he ends the last transaction once more, or just after."""
    topic = cluster.create("written")
    first, second, third = (SoleWriter(kafka_settings, group, [topic]) for _ in range(3))
    await first.start()
    await first.write([Output(topic, b"x")])
    await first.stop()
    as_it_is = getattr(LastTransaction, step)

    async def overtaken(last: LastTransaction, *arguments: Any) -> Any:
        monkeypatch.setattr(LastTransaction, step, as_it_is)
        await third.start()
        return await as_it_is(last, *arguments)

    monkeypatch.setattr(LastTransaction, step, overtaken)
    await second.start()
    with pytest.raises(Fenced, match="another writer has started"):
        await second.write([Output(topic, b"y")])
    await second.stop()
    await third.write([Output(topic, b"z")])
    await third.stop()
    assert [message.value() for message in cluster.read(topic)] == [b"x", b"z"]
