"""What the tests on the real broker share."""

from collections.abc import Iterator

import pytest

from schemas.topics import Topics
from tests.integration.kafka.cluster import Cluster


@pytest.fixture
def cluster(kafka: str, topics: Topics) -> Iterator[Cluster]:
    cluster = Cluster(kafka)
    yield cluster
    cluster.clean_up(topics.prefix)
