"""What an audit finds, over an encoder whose likeness is known."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from schemas.records import Example
from streams.selection.audit import audit
from streams.selection.background import Background
from streams.selection.calibration import Thresholds
from streams.selection.findings import Audit
from streams.selection.material import Material
from streams.selection.selector import Selector
from tests.unit.streams.selection.topics import TopicEncoder, examples

ENCODER = TopicEncoder()
BACKGROUND = Background.encoded_by(ENCODER)


def materials(
    adapters: dict[str, Sequence[Example]], languages: Iterable[str] = ()
) -> dict[str, Material]:
    selector = Selector(ENCODER)
    for adapter, own in adapters.items():
        selector.learn(adapter, own, languages)
    return {adapter: selector.material(adapter) for adapter in selector.adapters}


def audited(adapters: dict[str, Sequence[Example]], languages: Iterable[str] = ()) -> Audit:
    return audit(materials(adapters, languages), BACKGROUND)


def test_adapters_of_their_own_topics_give_nothing_to_find() -> None:
    found = audited({topic: examples(topic) for topic in ("law", "medicine", "music")})
    assert (found.overlaps, found.strayed, found.too_few, found.loose) == ((), (), (), ())
    assert found.adapters == ("law", "medicine", "music")
    assert found.overlap.tolist() == [[0.0] * 3] * 3
    assert (found.compared, found.examples) == (90, 90)


def test_an_example_that_strayed_is_listed_with_where_it_would_go() -> None:
    law = [*examples("law", 29), Example("medicine misplaced", "en")]
    found = audited({"law": law, "medicine": examples("medicine")})
    (stray,) = found.strayed
    assert (stray.adapter, stray.text, stray.language) == ("law", "medicine misplaced", "en")
    assert stray.other == "medicine"
    assert stray.other_score > stray.own_score
    assert stray.nearest_there.startswith("medicine ")
    assert "Move it to medicine" in stray.advice
    assert found.overlap.tolist() == [[0.0, pytest.approx(1 / 30)], [0.0, 0.0]]


def test_one_example_in_thirty_is_no_overlap_but_several_are() -> None:
    few = [*examples("law", 29), *examples("medicine", 1)]
    many = [*examples("law", 20), *(Example(f"medicine new {n}", "en") for n in range(10))]
    medicine = examples("medicine", 40)[10:]
    assert audited({"law": few, "medicine": medicine}).overlaps == ()
    (pair,) = audited({"law": many, "medicine": medicine}).overlaps
    assert (pair.adapter, pair.other) == ("law", "medicine")
    assert 0.2 < pair.strayed <= 1 / 3
    assert pair.strayed_back < pair.strayed
    assert pair.doubled == 0
    assert "Move the examples" in pair.advice


def test_two_adapters_with_the_same_examples_can_hardly_be_told_apart() -> None:
    found = audited({"law": examples("law"), "copy": examples("law"), "music": examples("music")})
    (pair,) = found.overlaps
    assert {pair.adapter, pair.other} == {"law", "copy"}
    assert pair.doubled == 1.0
    assert pair.extent == 1.0
    assert len(pair.twins) == 5
    assert all(twin.one == twin.other for twin in pair.twins)
    assert "hardly" in pair.advice


def test_a_single_double_is_told_with_its_text() -> None:
    law = [*examples("law", 29), Example("music 3", "en")]
    (pair,) = audited({"law": law, "music": examples("music")}).overlaps
    assert [(twin.one, twin.other) for twin in pair.twins] == [("music 3", "music 3")]
    assert pair.twins[0].similarity == pytest.approx(1.0, abs=1e-5)


def test_the_worst_come_first() -> None:
    law = [*examples("law", 20), *(Example(f"music new {n}", "en") for n in range(5))]
    tax = [*examples("tax", 20), *(Example(f"music newer {n}", "en") for n in range(15))]
    found = audited({"law": law, "tax": tax, "music": examples("music")})
    extents = [pair.extent for pair in found.overlaps]
    distances = [stray.own_score - stray.other_score for stray in found.strayed]
    assert len(extents) >= 2
    assert extents == sorted(extents, reverse=True)
    assert distances == sorted(distances)


def test_a_language_with_few_examples_says_how_many_are_missing() -> None:
    own = [*examples("law", 30), *(Example(f"law neu {n}", "de") for n in range(5))]
    (few,) = audited({"law": own}).too_few
    assert (few.adapter, few.language, few.count, few.needed) == ("law", "de", 5, 15)
    assert "Add 15" in few.advice or "add 15" in few.advice


def test_a_listed_language_without_examples_is_told() -> None:
    (few,) = audited({"law": examples("law")}, ["en", "de"]).too_few
    assert (few.language, few.count, few.needed) == ("de", 0, 20)
    assert "shows none of it" in few.advice


def test_a_slip_of_the_language_detection_is_no_language() -> None:
    own = [*examples("law", 30), Example("law misdetected", "nl")]
    assert audited({"law": own}).too_few == ()
    assert audited({"law": own}, ["en"]).too_few == ()


def test_an_adapter_with_one_example_is_never_chosen() -> None:
    (few,) = audited({"law": examples("law"), "tiny": examples("tiny", 1)}).too_few
    assert (few.adapter, few.language, few.count) == ("tiny", None, 1)
    assert "never chosen" in few.advice


def test_a_threshold_that_lets_everything_pass_is_told() -> None:
    (law,) = materials({"law": examples("law")}).values()
    loose = replace(law, thresholds=Thresholds(-1.0, -1.0, {"en": -0.5}))
    (found,) = audit({"law": loose}, BACKGROUND).loose
    assert (found.adapter, found.threshold, found.passed) == ("law", -0.5, 1.0)
    assert "nearly everything resembles them" in found.advice


def test_the_background_is_asked_in_the_adapters_languages_or_in_all() -> None:
    (law,) = materials({"law": examples("law")}).values()
    only_foreign = replace(law, thresholds=Thresholds(-1.0, -1.0, {"en": 1.0}))
    assert audit({"law": only_foreign}, BACKGROUND).loose == ()
    french = tuple(Example(example.text, "fr") for example in law.examples)
    unknown = replace(law, examples=french, thresholds=Thresholds(1.0, -1.0, {"fr": 1.0}))
    (found,) = audit({"law": unknown}, BACKGROUND).loose
    assert found.passed == 1.0


def test_progress_is_told_adapter_by_adapter() -> None:
    told: list[tuple[int, int]] = []
    audit(
        materials({topic: examples(topic, 3) for topic in ("law", "medicine")}),
        BACKGROUND,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]
