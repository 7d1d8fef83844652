"""What the tests on the real broker share."""

import uuid

import pytest

from tests.integration.kafka.cluster import Cluster


@pytest.fixture
def cluster(kafka: str) -> Cluster:
    return Cluster(kafka)


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"
