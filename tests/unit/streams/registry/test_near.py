"""Names like one that nobody knows."""

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.registry.near import LONGEST, near_names

FAMILIES = ("legal-qa", "tax-advice", "medical-diagnosis", "energy-tariffs", "travel-booking")
NAMES = sorted(
    (name for family in FAMILIES for name in (family, f"{family}-v1", f"{family}-v1@1.0.0")),
    reverse=True,
)
FEW_LETTERS = st.text("ab-1", max_size=8)


@cache
def common(one: str, other: str) -> int:
    """The length of their longest common subsequence."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + common(one[1:], other[1:])
    return max(common(one[1:], other), common(one, other[1:]))


def likeness(one: str, other: str) -> Fraction:
    return Fraction(2 * common(one, other), len(one) + len(other))


@given(FEW_LETTERS.filter(bool), st.sets(FEW_LETTERS.filter(bool)).map(sorted))
def test_they_are_the_three_likest_and_of_equal_ones_the_first(name: str, names: list[str]) -> None:
    found = [other for other in names if likeness(name, other) >= Fraction(3, 5)]
    found.sort(key=lambda other: likeness(name, other), reverse=True)
    assert near_names(name, names) == tuple(found[:3])


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and it with a letter missing, too many, wrong, or two of them swapped."""
    name = draw(st.sampled_from(NAMES))
    at = draw(st.integers(0, len(name) - 1))
    letter = draw(st.characters())
    before, after = name[:at], name[at:]
    changed = (after[1:], letter + after, letter + after[1:], after[1:2] + after[:1] + after[2:])
    return name, before + draw(st.sampled_from(changed))


@given(misspelt())
def test_what_is_misspelt_is_near(pair: tuple[str, str]) -> None:
    name, typed = pair
    assert name in near_names(typed, NAMES)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("legal-q", "legal-qa"),
        ("leagl-qa", "legal-qa"),
        ("legal_qa_v1", "legal-qa-v1"),
        ("Legal-QA-v1", "legal-qa-v1"),
        ("legal-qa-v1@1.0", "legal-qa-v1@1.0.0"),
        ("legal-qa-v2@1.0.0", "legal-qa-v1@1.0.0"),
        ("tax-advise", "tax-advice"),
        ("tax-v1", "tax-advice-v1"),
        ("medical-diagnoses-v1", "medical-diagnosis-v1"),
        ("diagnosis-v1", "medical-diagnosis-v1"),
        ("energy-tarifs", "energy-tariffs"),
        ("travelbooking", "travel-booking"),
    ],
)
def test_what_people_type_is_told_what_they_meant(typed: str, meant: str) -> None:
    assert near_names(typed, NAMES)[0] == meant


def test_a_name_without_any_like_it_is_near_none() -> None:
    assert near_names("zzz", NAMES) == ()
    assert near_names("", NAMES) == ()


def test_a_name_too_long_to_be_one_is_not_looked_for() -> None:
    assert near_names("a" * LONGEST, ["a" * LONGEST]) == ("a" * LONGEST,)
    assert near_names("a" * (LONGEST + 1), ["a" * LONGEST]) == ()
