"""A canary's trial on a running system: nobody touches it once it has begun."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from schemas.records import Canary, LifecycleEvent, Query, Response
from tests.integration.versions.conftest import RunningVersions, eventually

#: Wide enough for a trial of seconds: a few dozen answers show it.
LENIENT = ("--tolerate-errors", "8", "--tolerate-slow", "25")
PATIENCE = 150.0


@contextmanager
def queries(versions: RunningVersions, family: str, per_second: int = 40) -> Iterator[list[str]]:
    """Queries to the family all the while, each of a session of its own; their ids."""
    ids: list[str] = []
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            # All of a second's at once: what is committed together costs little more than one.
            batch = [Query(prompt="Guten Tag", adapter=family) for _ in range(per_second)]
            ids.extend(versions.send(batch))
            is_over.wait(max(0.0, began + 1.0 - time.monotonic()))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield ids
    finally:
        is_over.set()
        sender.join()


def break_files(versions: RunningVersions, key: str) -> None:
    """What was registered is there no more: each of its queries ends with an error."""
    weights = versions.folder / key / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(content)


def events(versions: RunningVersions, family: str) -> list[LifecycleEvent]:
    found = versions.read(versions.topics.lifecycle, LifecycleEvent)
    return [event for event in found if event.family == family]


def ending(versions: RunningVersions, family: str, started: int) -> LifecycleEvent:
    """The first event after the trial has begun, which is its end."""

    def find() -> LifecycleEvent | None:
        later = [e for e in events(versions, family) if e.revision > started]
        return later[0] if later else None

    return eventually(find, "a verdict", PATIENCE)


def states(versions: RunningVersions, family: str) -> dict[str, str]:
    return {v.adapter_version: v.status for v in versions.registry().of_family(family)}


def test_a_good_version_is_promoted(versions: RunningVersions) -> None:
    versions.register("good-qa", "1.0.0", "1.1.0")
    with queries(versions, "good-qa") as ids:
        begun = versions.change(
            "canary", "good-qa-v1", "--share", "40", "--for", "15s", *LENIENT, "--by", "anna"
        )
        event = ending(versions, "good-qa", begun["revision"])
    assert (event.event, event.adapter) == ("promoted", "good-qa-v1@1.1.0"), event.reason
    assert (event.from_status, event.to_status) == ("canary", "active")
    assert event.actor is not None and event.actor.startswith("judge at router-")
    assert event.reason is not None and "it is shown to be fine" in event.reason
    figures = event.figures
    assert figures["canary_requests"] > 50
    assert figures["canary_errors"] == figures["others_errors"] == 0
    assert figures["evidence_errors_fine"] >= figures["evidence_needed_fine"]
    assert figures["evidence_slow_fine"] >= figures["evidence_needed_fine"]
    assert states(versions, "good-qa") == {"1.0.0": "registered", "1.1.0": "active"}
    versions.until_known("good-qa", begun["revision"] + 1)
    (now,) = versions.ask([Query(prompt="Guten Tag", adapter="good-qa")])
    assert now.adapter == "good-qa-v1@1.1.0"
    assert {response.status for response in versions.responses(ids)} == {"ok"}
    assert "canary_p95_latency_ms" in versions.lorelay("history", "good-qa").out


def test_a_bad_version_is_rolled_back_long_before_its_time_is_over(
    versions: RunningVersions,
) -> None:
    versions.register("bad-qa", "1.0.0", "2.0.0")
    break_files(versions, "bad-qa-v2@2.0.0")
    with queries(versions, "bad-qa") as ids:
        begun = versions.change("canary", "bad-qa-v2", "--share", "20", "--for", "2h")
        event = ending(versions, "bad-qa", begun["revision"])
    assert event.event == "rolled_back"
    assert event.reason is not None
    assert event.reason.startswith("Its share of errors is worse than the others'")
    assert event.figures["canary_error_rate"] == 1.0
    assert event.figures["others_error_rate"] == 0.0
    assert event.shares == {"bad-qa-v1@1.0.0": 100.0}
    assert states(versions, "bad-qa") == {"1.0.0": "active", "2.0.0": "failed"}
    versions.until_known("bad-qa", begun["revision"] + 1)
    assert {r.status for r in versions.ask([Query(prompt="x", adapter="bad-qa")] * 50)} == {"ok"}
    statuses = Counter(response.status for response in versions.responses(ids))
    assert statuses["error"] < statuses["ok"]


def test_without_queries_nothing_is_known_and_all_is_as_before(versions: RunningVersions) -> None:
    versions.register("quiet-qa", "1.0.0", "2.0.0")
    done = versions.lorelay("canary", "quiet-qa-v2", "--for", "1s", "--wait")
    assert done.status == 1
    assert "canary undecided quiet-qa-v2@2.0.0 (canary → registered)" in done.out
    assert "After 0 answers it is not shown" in done.out
    assert states(versions, "quiet-qa") == {"1.0.0": "active", "2.0.0": "registered"}


def test_a_trial_whose_end_cannot_be_written_holds_up_no_other(versions: RunningVersions) -> None:
    versions.register("stuck-qa", "1.0.0", "1.1.0")
    begun = versions.registry().traffic("stuck-qa")
    over = datetime.now(UTC).replace(microsecond=0)
    plan = Canary(adapter="stuck-qa-v1@1.1.0", share=10.0, started_at=over, ends_at=over)
    # As no command writes it: there is no split to go back to.
    record = replace(begun, revision=begun.revision + 1, previous=(), canary=plan)
    value = versions.codec.encode(record)
    versions.cluster.produce(versions.topics.traffic, [value], key=b"stuck-qa")
    versions.until_known("stuck-qa", record.revision)

    versions.register("free-qa", "1.0.0", "2.0.0")
    done = versions.lorelay("canary", "free-qa-v2", "--for", "1s", "--wait")
    assert "canary undecided free-qa-v2@2.0.0 (canary → registered)" in done.out
    assert versions.registry().traffic("stuck-qa").canary == plan
    versions.change("promote", "stuck-qa-v1@1.1.0")


def test_another_router_goes_on_when_the_judges_is_killed(versions: RunningVersions) -> None:
    versions.register("orphan-qa", "1.0.0", "1.1.0")
    evidence = "lorelay_router_canary_evidence_ratio"
    labels = {"family": "orphan-qa", "adapter": "orphan-qa-v1@1.1.0"}

    def judge() -> str | None:
        for router in versions.routers():
            found = versions.fleet.metric(
                router, evidence, **labels, measure="errors", towards="fine"
            )
            if found is not None:
                return router
        return None

    with queries(versions, "orphan-qa"):
        begun = versions.change("canary", "orphan-qa-v1", "--share", "40", "--for", "25s", *LENIENT)
        first = eventually(judge, "a judge")
        for member in versions.fleet.of_role("router"):
            if member.name == first:
                versions.fleet.send(member, signal.SIGKILL)
                assert member.process is not None
                member.process.wait()
        second = eventually(judge, "another judge")
        assert second != first
        event = ending(versions, "orphan-qa", begun["revision"])
    assert event.event == "promoted", event.reason
    assert event.figures["canary_requests"] > 50
    versions.start(first)


class TestShadow:
    def test_it_answers_on_its_topic_and_to_nobody(self, versions: RunningVersions) -> None:
        versions.register("shadow-qa", "1.0.0", "2.0.0")
        with queries(versions, "shadow-qa", 40) as ids:
            begun = versions.change("canary", "shadow-qa-v2", "--shadow", "--for", "20s", *LENIENT)
            event = ending(versions, "shadow-qa", begun["revision"])
        assert event.event == "shadow_passed", event.reason
        assert states(versions, "shadow-qa") == {"1.0.0": "active", "2.0.0": "registered"}
        answered = versions.responses(ids)
        assert {response.adapter for response in answered} == {"shadow-qa-v1@1.0.0"}
        shadowed = shadow_answers(versions, "shadow-qa-v2@2.0.0")
        assert event.figures["canary_requests"] <= len(shadowed) <= len(ids)
        texts = {response.query_id: response.text for response in shadowed}
        assert texts.keys() <= set(ids)
        assert set(texts.values()) == {"[shadow-qa-v2@2.0.0] Guten Tag"}
        assert {r.routing.variant for r in shadowed if r.routing} == {"shadow"}

    def test_one_that_fails_is_found_and_no_user_sees_it(self, versions: RunningVersions) -> None:
        versions.register("broken-qa", "1.0.0", "2.0.0")
        break_files(versions, "broken-qa-v2@2.0.0")
        with queries(versions, "broken-qa", 40) as ids:
            begun = versions.change("canary", "broken-qa-v2", "--shadow", "--for", "2h")
            event = ending(versions, "broken-qa", begun["revision"])
        assert event.event == "shadow_failed"
        assert states(versions, "broken-qa") == {"1.0.0": "active", "2.0.0": "failed"}
        assert {response.status for response in versions.responses(ids)} == {"ok"}


def shadow_answers(versions: RunningVersions, key: str) -> list[Response]:
    found = versions.read(versions.topics.shadow, Response)
    return [response for response in found if response.adapter == key]
