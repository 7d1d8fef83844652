"""Whatever comes from outside, a decoder gives a value or an error of its own type."""

import json
import logging
import random
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from inference.adapters.verify import local_path
from inference.training.dataset import TrainingDataError, read_rows
from schemas.codec import Codec, written_schemas
from schemas.definitions import read_schema
from schemas.errors import (
    AdapterUnavailable,
    DecodeError,
    InvalidRequest,
    MalformedRecord,
    RecordTooLarge,
    RegistrationRefused,
)
from schemas.json_form import to_json
from schemas.records import RECORD_TYPES, Origin, Query, Record
from schemas.validation import validate_query
from streams.kafka.cancels import Cancellations
from streams.kafka.dead_letters.letter import read_dead_letter
from streams.kafka.settings import KafkaSettings
from streams.kafka.window import (
    Committed,
    MetadataInvalid,
    OffsetBeyondLog,
    OffsetWindow,
)
from streams.kafka.writer_schemas import WriterSchemas
from streams.registry.artifact import CONFIG, WEIGHTS, check_folder, read_header
from streams.registry.candidate import read_candidate
from streams.registry.examples import read_examples
from streams.registry.files import UnsoundArtifact
from streams.registry.follow import RegistryFollower
from streams.router.decisions import claimed_id, completed
from streams.telemetry import sketch
from tests.conftest import Scale
from tests.unit.schemas.strategies import records
from tests.unit.streams.kafka.dead_letters.factories import written
from tests.unit.streams.registry.factories import NOW, metadata, write_adapter

IDS = {record_type: number for number, record_type in enumerate(RECORD_TYPES, 7)}
PLAIN, CONFLUENT = Codec(), Codec(ids=IDS)
TOPICS = KafkaSettings().topics

#: What breaks readers of one encoding or another, to be put in anywhere.
_NASTY: Sequence[bytes] = (
    b"[" * 3000,
    b'{"a":' * 3000,
    b'{"prompt":' * 300,
    b"9" * 5000,
    b"-9223372036854775809",
    b"1e999",
    b"NaN",
    b"Infinity",
    b'"\\ud800"',
    b"\\udfff",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"9999-12-31T23:59:59.999999-23:59"',
    b'"0001-01-01T00:00:00+23:59"',
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80" * 20,
    b"\xc3\x01",
    b"\0\0\0\0\x07",
    b"../../etc/passwd",
)


class Mutations:
    """Inputs made from real ones, endlessly and by one seed."""

    def __init__(self, seeds: Sequence[bytes], seed: int) -> None:
        self._seeds = seeds
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            payload = bytearray(self._random.choice(self._seeds))
            for _ in range(self._random.choice((0, 1, 1, 1, 2, 4))):
                self._mutate(payload)
            yield bytes(payload)

    def _mutate(self, payload: bytearray) -> None:
        draw = self._random
        at = draw.randint(0, len(payload))
        match draw.randrange(10):
            case 0:
                del payload[at:]
            case 1:
                del payload[at : at + draw.randint(1, 8)]
            case 2 | 8 | 9:
                payload[at : at + draw.choice((0, 0, 1, 4))] = draw.choice(_NASTY)
            case 3:
                payload[at:at] = draw.randbytes(draw.randint(1, 8))
            case 4 if at < len(payload):
                payload[at] ^= 1 << draw.randrange(8)
            case 5 if at < len(payload):
                payload[at] = draw.choice(b'\0\1\2\x7f\x80\xff{}[]",:0-')
            case 6:
                other = draw.choice(self._seeds)
                start = draw.randint(0, len(other))
                payload[at:] = other[start : start + draw.randint(0, 200)]
            case _:
                payload[at:at] = payload[at : at + draw.randint(1, 40)]


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder, what it is fed with, and its share of the inputs."""

    name: str
    decode: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Sequence[bytes]
    share: float


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some values of the strategy, the same ones at every run."""
    found: list[Any] = []

    @hypothesis.settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def record_seeds(record_type: type[Record]) -> list[bytes]:
    seeds = []
    for record in drawn(records(record_type), 25):
        single = PLAIN.encode(record)
        text = to_json(record)
        seeds += [
            single,
            CONFLUENT.encode(record),
            text.encode(),
            to_json(record, indent=True).encode(),
        ]
        seeds += [b"\xc3\x01unknown!" + single[10:], b"\0\0\0\1\0" + single[10:]]
        seeds += [b"\xef\xbb\xbf \n" + text.encode()]
    return seeds


def decode_record(record_type: type[Record]) -> Callable[[bytes], None]:
    def decode(payload: bytes) -> None:
        found = CONFLUENT.decode(record_type, payload)
        with suppress(RecordTooLarge):  # JSON of much white space aside, it can be written again
            PLAIN.encode(found)
        to_json(found)
        if isinstance(found, Query):
            with suppress(InvalidRequest):
                validate_query(found, TOPICS)
                completed(found, Origin("q", 0, 1), datetime(2026, 1, 1, tzinfo=UTC))

    return decode


def decode_dead_letter(payload: bytes) -> None:
    letter = written()
    cut = len(payload) // 2
    headers = [
        (name, payload[number % 7 :: 7] if number % 3 == 0 else value)
        for number, (name, value) in enumerate(letter.headers)
    ]
    read_dead_letter(
        PLAIN,
        partition=0,
        timestamp_ms=int.from_bytes(payload[:8], "little", signed=True),
        key=payload[cut:],
        value=payload,
        headers=[*headers, (headers[cut % len(headers)][0], payload[:cut])],
    )


def apply_to_tables() -> Callable[[bytes], None]:
    """What follows whole topics must pass over anything: an exception would end it."""
    settings = KafkaSettings()
    follower = RegistryFollower(settings, Codec())
    cancellations = Cancellations(settings, Codec())
    schemas = WriterSchemas(settings, Codec())

    def apply(payload: bytes) -> None:
        for offset, topic in enumerate((TOPICS.adapters, TOPICS.examples, TOPICS.traffic)):
            follower._on_record(topic, payload[-20:], payload, offset)
        follower._on_record(TOPICS.examples, b"a@1#" + payload[-9:], None, 2)
        cancellations._on_record(TOPICS.cancels, b"", payload, 0)
        if payload[:1] in b"{[":
            follower._on_record(TOPICS.schemas, payload[:8], payload, 0)
            schemas._learn(TOPICS.schemas, payload[:8], payload, 0)
        follower.registry.versions()
        follower.registry.selectable()
        for family in follower.registry.families():
            follower.registry.shares(family)

    return apply


def decode_offsets(payload: bytes) -> None:
    window, _ = OffsetWindow.restore(Committed(100, payload.decode("latin-1")), 90, 200_000)
    with suppress(OverflowError):  # a wider bitmap than any that we write
        window.committed()


def offset_seeds() -> list[bytes]:
    window = OffsetWindow(100)
    for offset in range(100, 400):
        window.deliver(offset)
        if offset % 3:
            window.finish(offset)
    return [b"", b"b1:", window.committed().metadata.encode()]


def in_file(path: Path, read: Callable[[], object]) -> Callable[[bytes], None]:
    def decode(payload: bytes) -> None:
        path.write_bytes(payload)
        read()

    return decode


def targets(folder: Path) -> Iterator[Target]:
    per_type = 0.8 / len(RECORD_TYPES)
    every_seed: list[bytes] = []
    for record_type in RECORD_TYPES:
        seeds = record_seeds(record_type)
        every_seed += seeds[:14]
        yield Target(
            record_type.__name__, decode_record(record_type), (DecodeError,), seeds, per_type
        )
    yield Target("dead letter", decode_dead_letter, (), [*every_seed, written().key], 0.02)
    yield Target("tables", apply_to_tables(), (), every_seed, 0.03)
    yield Target("claimed id", claimed_id, (), every_seed, 0.02)
    schemas = [text.encode() for text in written_schemas().values()]
    yield Target(
        "schema",
        lambda payload: read_schema(payload.decode(errors="replace")),
        (MalformedRecord,),
        schemas,
        0.005,
    )
    yield Target(
        "offsets", decode_offsets, (MetadataInvalid, OffsetBeyondLog), offset_seeds(), 0.03
    )
    total, first_token, queue = sketch.Quantiles(), sketch.Quantiles(), sketch.Quantiles()
    for number in range(200):
        total.add(number)
        queue.add(number / 7)
    encoded = sketch.encode(total, first_token, queue, queue)
    yield Target("sketch", sketch.decode, (ValueError,), [encoded, b""], 0.005)
    yield Target("total", sketch.decode_total, (ValueError,), [encoded, b""], 0.005)

    adapter = write_adapter(folder / "adapter")
    weights, config = (adapter / WEIGHTS), (adapter / CONFIG)
    content = weights.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    yield Target(
        "weights",
        in_file(weights, lambda: check_folder(adapter)),
        (UnsoundArtifact,),
        [content, content[:header]],
        0.02,
    )
    yield Target(
        "header",
        lambda payload: (
            weights.write_bytes(len(payload).to_bytes(8, "little") + payload + content[header:]),
            read_header(weights),
        ),
        (UnsoundArtifact,),
        [content[8:header]],
        0.02,
    )
    sound = write_adapter(folder / "sound")
    yield Target(
        "configuration",
        in_file(sound / CONFIG, lambda: check_folder(sound)),
        (UnsoundArtifact,),
        [config.read_bytes()],
        0.01,
    )
    registered = write_adapter(folder / "registered")
    yield Target(
        "metadata",
        in_file(
            registered / "metadata.json",
            lambda: PLAIN.encode(read_candidate(registered, NOW).version),
        ),
        (RegistrationRefused, RecordTooLarge),
        [json.dumps(metadata()).encode(), json.dumps({"adapter_metadata": metadata()}).encode()],
        0.01,
    )
    rows = [
        {
            "instruction": "Wie?",
            "input": "",
            "output": "So.",
            "weight": 2,
            "metadata": {"language": "de"},
        },
        {
            "messages": [
                {"role": "user", "content": "Wie?"},
                {"role": "assistant", "content": "So."},
            ]
        },
        {"text": "So.", "language": "de", "held_out": True},
    ]
    lines = [json.dumps(row).encode() for row in rows]
    training = folder / "rows.jsonl"
    yield Target(
        "training rows",
        in_file(training, lambda: read_rows(training)),
        (TrainingDataError,),
        lines,
        0.01,
    )
    yield Target(
        "examples",
        lambda payload: read_examples(payload.decode(errors="replace").split("\n")),
        (RegistrationRefused,),
        lines,
        0.01,
    )
    yield Target(
        "adapter URI",
        lambda payload: local_path("a@1", payload.decode(errors="replace")),
        (AdapterUnavailable,),
        [b"file:///srv/adapters/a%20b", b"/srv/adapters", b"s3://bucket/a", b"//host/share"],
        0.005,
    )


@pytest.fixture
def silence() -> Iterator[None]:
    """A hundred thousand lines of log are no result."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silence")
def test_every_decoder_gives_a_value_or_an_error_of_its_own(tmp_path: Path, scale: Scale) -> None:
    seed = random.SystemRandom().randrange(2**32) if scale.fuzzed_inputs > 100_000 else 1
    tried = 0
    shares = 0.0
    for target in targets(tmp_path):
        shares += target.share
        count = round(scale.fuzzed_inputs * target.share)
        for payload, _ in zip(Mutations(target.seeds, seed), range(count), strict=False):
            try:
                target.decode(payload)
            except target.errors as error:
                assert str(error).encode(), "a message that no response could carry"
            except Exception as error:
                pytest.fail(f"{target.name}, seed {seed}: {error!r} for {payload[:2000]!r}")
            tried += 1
    assert shares == pytest.approx(1.0, abs=0.01)
    assert tried >= 0.99 * scale.fuzzed_inputs


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_fields_of_any_json_are_a_record_or_an_error(record_type: type[Record]) -> None:
    names = [field["name"] for field in json.loads(written_schemas_of(record_type))["fields"]]
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
        | st.sampled_from([2**63, -(2**63), 10**30, 1e300, "9999-12-31T23:59:59-23:00", ""])
    )
    anything = st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*names, *string.ascii_lowercase[:3]]), inner, max_size=4
            )
        ),
        max_leaves=8,
    )

    @hypothesis.settings(max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    @hypothesis.given(st.dictionaries(st.sampled_from(names), anything))
    def check(fields: dict[str, Any]) -> None:
        with suppress(DecodeError):
            decode_record(record_type)(json.dumps(fields).encode())

    check()


def written_schemas_of(record_type: type[Record]) -> str:
    return next(
        text
        for text in written_schemas().values()
        if json.loads(text)["name"] == record_type.__name__
    )
