"""The life of a version on a running system: nothing is ever started anew."""

from collections import Counter
from collections.abc import Mapping

from schemas.records import AdapterMetrics, LifecycleEvent, Query
from tests.integration.router.conftest import LEGAL_TEXTS
from tests.integration.versions.conftest import RunningVersions, eventually

VARIANT_RESPONSES = "lorelay_variant_responses_total"
SESSIONS = [f"session-{number}" for number in range(400)]


def ask_all(versions: RunningVersions, reference: str) -> Mapping[str, str]:
    """By session, which version answered its queries; two queries of one have the same."""
    queries = [
        Query(session=session, prompt="Guten Tag", adapter=reference)
        for session in SESSIONS
        for _ in range(2)
    ]
    responses = versions.ask(queries)
    found: dict[str, set[str | None]] = {session: set() for session in SESSIONS}
    for query, response in zip(queries, responses, strict=True):
        assert response.status == "ok"
        assert response.text == f"[{response.adapter}] Guten Tag"
        found[str(query.session)].add(response.adapter)
    assert all(len(adapters) == 1 for adapters in found.values()), "a session was torn"
    return {session: str(adapters.pop()) for session, adapters in found.items()}


def expected(versions: RunningVersions, reference: str) -> Mapping[str, str]:
    """The same, by the registry alone."""
    registry = versions.registry()
    return {s: registry.choose(reference, s).version.key for s in SESSIONS}


def test_a_split_a_promotion_and_a_rollback_are_followed_session_by_session(
    versions: RunningVersions,
) -> None:
    versions.register("legal-qa", "1.0.0", "2.0.0")
    assert set(ask_all(versions, "legal-qa").values()) == {"legal-qa-v1@1.0.0"}

    versions.change("split", "legal-qa", "v1=90", "v2=10")
    at_first = ask_all(versions, "legal-qa")
    assert at_first == expected(versions, "legal-qa")
    counts = Counter(at_first.values())
    assert 15 <= counts["legal-qa-v2@2.0.0"] <= 70  # five deviations around 40 of 400

    versions.change("split", "legal-qa", "v1=70", "v2=30")
    wider = ask_all(versions, "legal-qa")
    moved = {s for s in SESSIONS if wider[s] != at_first[s]}
    assert {wider[s] for s in moved} == {"legal-qa-v2@2.0.0"}
    assert 40 <= len(moved) <= 120  # five deviations around 80

    versions.change("promote", "legal-qa-v2")
    assert set(ask_all(versions, "legal-qa").values()) == {"legal-qa-v2@2.0.0"}
    assert set(ask_all(versions, "legal-qa-v1").values()) == {"legal-qa-v1@1.0.0"}

    versions.change("rollback", "legal-qa", "--by", "anna", "--reason", "Too terse.")
    assert ask_all(versions, "legal-qa") == wider

    history = versions.lorelay("history", "legal-qa", "--json")
    steps = [line for line in history.out.splitlines() if '"rolled_back"' in line]
    assert len(steps) == 1
    event = versions.codec.decode(LifecycleEvent, steps[0].encode())
    assert (event.actor, event.reason, event.revision) == ("anna", "Too terse.", 5)
    assert event.shares == {"legal-qa-v1@1.0.0": 70.0, "legal-qa-v2@2.0.0": 30.0}
    assert "Too terse." in versions.lorelay("history", "legal-qa").out
    assert "70 % (v1)" in versions.lorelay("list").out


def test_a_router_that_comes_later_agrees(versions: RunningVersions) -> None:
    versions.register("later-qa", "1.0.0", "2.0.0")
    versions.change("split", "later-qa", "v1=50", "v2=50")
    versions.start("router-3")
    versions.until_known("later-qa", 2)
    assert ask_all(versions, "later-qa") == expected(versions, "later-qa")


def test_the_variant_is_in_the_response_and_in_every_metric(versions: RunningVersions) -> None:
    versions.register("metric-qa", "1.0.0", "2.0.0")
    versions.change("split", "metric-qa", "v1=50", "v2=50")
    arms = {"metric-qa-v1@1.0.0": "v1", "metric-qa-v2@2.0.0": "v2"}
    by_split = versions.ask([Query(prompt="Hallo", adapter="metric-qa") for _ in range(40)])
    for response in by_split:
        assert response.routing is not None
        assert response.routing.variant == arms[str(response.adapter)]
    named = versions.ask([Query(prompt="Hallo", adapter="metric-qa-v2@2.0.0") for _ in range(7)])
    for response in named:
        assert response.routing is not None
        assert (response.adapter, response.routing.variant) == ("metric-qa-v2@2.0.0", None)

    counts = Counter(response.adapter for response in by_split)
    for adapter, variant in arms.items():
        labels = {"adapter": adapter, "variant": variant, "status": "ok"}
        # A response is counted once its transaction is known to be committed.
        eventually(
            lambda labels=labels, count=counts[adapter]: (  # type: ignore[misc]
                versions.fleet.metric("worker", VARIANT_RESPONSES, **labels) == count or None
            ),
            f"{counts[adapter]} of {adapter}",
        )
        labels = {"family": "metric-qa", "adapter": adapter, "variant": variant}
        assert (
            versions.fleet.metric("router", "lorelay_router_traffic_share_ratio", **labels) == 0.5
        )

    def windows() -> Counter[tuple[str, str | None]] | None:
        found: Counter[tuple[str, str | None]] = Counter()
        for record in versions.read(versions.topics.metrics, AdapterMetrics):
            if record.adapter_id.startswith("metric-qa"):
                found[record.adapter_id, record.variant] += record.num_requests
        return found if found.total() == 47 else None

    assert eventually(windows, "all windows") == {
        ("metric-qa-v1", "v1"): counts["metric-qa-v1@1.0.0"],
        ("metric-qa-v2", "v2"): counts["metric-qa-v2@2.0.0"],
        ("metric-qa-v2", None): 7,
    }


def test_selection_chooses_the_family_and_the_split_its_version(versions: RunningVersions) -> None:
    versions.register("tenancy-qa", "1.0.0", "2.0.0", texts=LEGAL_TEXTS)
    versions.change("split", "tenancy-qa", "v1=60", "v2=40")
    questions = [Query(session=s, prompt=LEGAL_TEXTS[0]) for s in SESSIONS[:40]]

    def selected() -> dict[str, str] | None:
        responses = versions.ask(questions)
        found = {s: str(r.adapter) for s, r in zip(SESSIONS, responses, strict=False)}
        return found if "None" not in found.values() else None

    chosen = eventually(selected, "the family, selected")
    registry = versions.registry()
    assert chosen == {s: registry.choose("tenancy-qa", s).version.key for s in SESSIONS[:40]}
    assert set(chosen.values()) == {"tenancy-qa-v1@1.0.0", "tenancy-qa-v2@2.0.0"}


class TestRetiring:
    def test_what_is_routed_is_finished_and_what_comes_later_is_not(
        self, versions: RunningVersions
    ) -> None:
        versions.register("retired-qa", "1.0.0", "1.1.0")
        versions.change("promote", "retired-qa-v1")
        old = "retired-qa-v1@1.0.0"
        waiting = versions.send([Query(prompt="Wer?", adapter=old) for _ in range(60)])
        eventually(lambda: set(waiting) <= versions.requests().keys() or None, "all are routed")
        versions.change("retire", old, "--reason", "Out of date.")
        assert {r.adapter for r in versions.responses(waiting)} == {old}
        assert {r.status for r in versions.responses(waiting)} == {"ok"}

        def refused() -> bool | None:
            (response,) = versions.ask([Query(prompt="Wer?", adapter=old)])
            return response.error is not None or None

        eventually(refused, "no more of it")
        plain, base, previous, family = versions.ask(
            [
                Query(prompt="Wer?", adapter=old),
                Query(prompt="Wer?", adapter=old, fallback="base"),
                Query(prompt="Wer?", adapter=old, fallback="previous"),
                Query(prompt="Wer?", adapter="retired-qa"),
            ]
        )
        assert plain.error is not None
        assert plain.error.category == "unknown_adapter"
        assert plain.error.message == f"Adapter {old} is retired."
        assert (base.status, base.adapter) == ("ok", None)
        assert previous.error is not None  # there is none before it
        assert family.adapter == "retired-qa-v1@1.1.0"

    def test_the_share_of_one_goes_to_the_others(self, versions: RunningVersions) -> None:
        versions.register("shared-qa", "1.0.0", "2.0.0")
        versions.change("split", "shared-qa", "v1=50", "v2=50")
        versions.change("retire", "shared-qa-v1@1.0.0")
        assert set(ask_all(versions, "shared-qa").values()) == {"shared-qa-v2@2.0.0"}
        done = versions.lorelay("retire", "shared-qa-v2@2.0.0")
        assert done.status == 1
        assert "promote another version first, or say --force" in done.err
