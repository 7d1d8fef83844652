"""Records that anybody may have written to the topic of dead letters."""

from dataclasses import dataclass

from hypothesis import strategies as st

from streams.kafka.dead_letters import headers as names
from streams.kafka.dead_letters.letter import DeadLetter, read_dead_letter
from streams.kafka.output import REDRIVEN_COUNT, REDRIVEN_FROM
from tests.unit.streams.kafka.dead_letters.factories import CODEC, written

_OURS = [value for name, value in vars(names).items() if name.isupper()]
_NAMES = st.text(max_size=20) | st.sampled_from([*_OURS, REDRIVEN_FROM, REDRIVEN_COUNT])
_VALUES = (
    st.none()
    | st.binary(max_size=40)
    | st.integers().map(lambda n: str(n).encode())
    | st.datetimes().map(lambda time: time.isoformat().encode())
    | st.sampled_from([b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00Z", b"7" * 5000])
)
_KEYS = (
    st.none()
    | st.binary(max_size=40)
    | st.from_regex(r"[a-z.]{0,9}/[0-9]{0,30}/-?[0-9]{0,30}").map(str.encode)
    | st.just(written().key)
)
_TIMES = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 253402300800000)


@dataclass(frozen=True, slots=True)
class Anything:
    """A record, and how it is read."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes | None]]
    timestamp_ms: int

    def read(self) -> DeadLetter:
        return read_dead_letter(
            CODEC,
            partition=0,
            timestamp_ms=self.timestamp_ms,
            key=self.key,
            value=self.value,
            headers=self.headers,
        )


@st.composite
def anything(draw: st.DrawFn) -> Anything:
    headers = draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=12))
    if draw(st.booleans()):
        headers = [*written().headers, *headers]
    value = draw(st.binary(max_size=60) | st.just(b"{}"))
    return Anything(draw(_KEYS), value, headers, draw(_TIMES))
