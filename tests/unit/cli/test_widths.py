"""At 80 columns, with long names: what is too long goes on below, and nothing is cut."""

from collections.abc import Sequence
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from cli import adapters, dead_letter_display, explanation_display, gateway_keys, status
from cli.stack.stack import ProcessStatus
from schemas.errors import AdapterUnavailable
from schemas.records import Origin
from schemas.topics import Topics
from streams.gateway.access.keys import Key
from streams.registry.reader import Registry
from streams.selection.decision import Decision
from streams.selection.explanation import Explanation, Neighbour, Standing
from tests.unit.streams.kafka.dead_letters.factories import letter
from tests.unit.streams.registry.factories import NOW, version

LONG = "environmental-compliance-reporting-v12@12.12.3"
SHORT = "medical-diagnosis-v1@1.0.0"
QUERY_ID = "0198b3f2-7c1d-7a3e-9f10-2b1c4d5e6f70"


def printed(*parts: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=StringIO(), highlight=False)
    for part in parts:
        console.print(part)
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    return lines


def column(lines: Sequence[str], heading: str) -> str:
    """What stands below a heading, as far as the heading's own column reaches."""
    at = next(line.index(heading) for line in lines if heading in line)
    return "".join(part[0] for line in lines if (part := line[at:].split("  ")))


@pytest.fixture
def explanation() -> Explanation:
    examples = tuple(
        Neighbour(f"Wie lang darf die Probezeit höchstens sein, wenn sie {n}-mal anfing?", "de", n)
        for n in (0.9, 0.8, 0.7)
    )
    return Explanation(
        Decision(LONG, language="de"),
        (Standing(LONG, 0.9, 0.3, 0.5, examples), Standing(SHORT, 0.4, None, -0.5, examples)),
    )


def test_a_decision_keeps_its_figures(explanation: Explanation) -> None:
    lines = printed(explanation_display.candidates(explanation))
    assert lines[0].split() == ["adapter", "score", "threshold", "margin"]
    assert lines[1].split()[-2:] == ["0.300", "+0.500"]
    assert column(lines, "adapter").startswith("adapter" + LONG)


def test_nearest_examples_keep_cosine_language_and_text(explanation: Explanation) -> None:
    lines = printed(explanation_display.neighbours(explanation))
    assert LONG in lines and SHORT in lines
    (heading,) = (line for line in lines if "cosine" in line)
    assert heading.split() == ["cosine", "language", "text"]
    first = lines.index(heading) + 1
    assert lines[first].split()[:2] == ["0.900", "de"]
    told = " ".join(" ".join(lines[first : first + 2]).split())
    assert told == "0.900 de " + explanation.adapters[0].examples[0].text


def test_an_example_of_many_pages_is_cut_where_it_is_told() -> None:
    page = Neighbour("lang " * 10_000, "de", 0.9)
    explanation = Explanation(Decision(SHORT), (Standing(SHORT, 0.9, 0.3, None, (page,)),))
    console = Console(width=80, record=True, file=StringIO())
    console.print(explanation_display.neighbours(explanation))
    lines = console.export_text().splitlines()
    assert lines[-1].rstrip().endswith("…")
    assert len(lines) < 12


def test_a_list_of_adapters_keeps_every_column() -> None:
    registry = Registry()
    for offset, key in enumerate((LONG, SHORT)):
        registered = version(*key.split("@"))
        registry.apply_version(key, registered, offset)
    lines = printed(adapters._table(registry, registry.versions(), 80))
    headings = ["adapter", "status", "share", "selected", "revision", "examples"]
    assert lines[1].split() == headings
    text = " ".join(lines)
    for cell in (SHORT, "active", "(v12)", *LONG.partition("-repor")[:1]):
        assert cell in text
    wide = printed(adapters._table(registry, registry.versions(), 140), width=140)
    assert any(LONG in line for line in wide)


def test_what_a_process_waits_for_is_told_to_its_end() -> None:
    path = "/srv/models/" + "-".join(["long"] * 10)
    waits = ProcessStatus(
        "worker-1", 1234567, False, path, NOW.isoformat(), "127.0.0.1:45678", None
    )
    lines = printed(status._table([waits]))
    assert "127.0.0.1:45678" in lines[1]
    at = lines[0].index("state")
    end = lines[0].index("since")
    assert "".join(line[at:end].strip() for line in lines[1:]) == path


def test_a_dead_letter_can_be_copied_whole() -> None:
    topics = Topics("a-long-name-of-a-cluster.")
    found = letter(
        origin=Origin(topics.requests, 12, 123456789),
        topics=topics,
        query_id=QUERY_ID,
        adapter=LONG,
        error=AdapterUnavailable(LONG, "gone"),
    )
    console = Console(width=80, record=True, file=StringIO(), highlight=False)
    for line in dead_letter_display.lines([found]):
        console.print(line, soft_wrap=True)
    first, second = console.export_text().splitlines()
    assert first.split()[2:] == [f"{topics.requests}/12/123456789", "adapter_unavailable"]
    assert second.strip() == f"query {QUERY_ID}, adapter {LONG}"


def test_a_list_of_keys_keeps_every_limit() -> None:
    key = Key(
        id="k-0123456789ab",
        sha256="0" * 64,
        tenant="clinic-north-department-of-radiology",
        name="the nightly batch",
        requests_per_minute=1200,
        tokens_per_day=12_000_000,
        most_at_once=100,
        priority=5,
        created_at=NOW,
    )
    text = " ".join(printed(gateway_keys._table([key])))
    for cell in (key.id, "counts", "1,200", "12,000,000", "100", "priority"):
        assert cell in text
