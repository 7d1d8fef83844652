"""Selection with the real encoder, in two languages."""

import pytest

from schemas.records import Example
from streams.selection.background import Background
from streams.selection.encoder import SentenceEncoder
from streams.selection.selector import Selector

PARKING = [
    ("Wo darf ich mein Auto abstellen?", "de"),
    ("Was kostet ein Parkschein in der Innenstadt?", "de"),
    ("Wie beantrage ich einen Bewohnerparkausweis?", "de"),
    ("Darf ich vor einer Einfahrt parken?", "de"),
    ("Wie lange gilt der Parkausweis?", "de"),
    ("Gibt es Parkplätze für Behinderte am Rathaus?", "de"),
    ("How do I apply for a resident parking permit?", "en"),
    ("What does a parking ticket cost in the centre?", "en"),
    ("Where may I park overnight?", "en"),
    ("Is parking free on Sundays?", "en"),
    ("How long may I park in front of the station?", "en"),
    ("Can I pay for parking by phone?", "en"),
]
LIBRARY = [
    ("Wie lange kann ich ein Buch ausleihen?", "de"),
    ("Was kostet ein Leseausweis?", "de"),
    ("Wie verlängere ich die Leihfrist?", "de"),
    ("Kann ich Bücher vorbestellen?", "de"),
    ("Wann hat die Bücherei geöffnet?", "de"),
    ("Was passiert, wenn ich ein Buch zu spät zurückgebe?", "de"),
    ("How many books may I borrow at a time?", "en"),
    ("How do I renew a loan at the library?", "en"),
    ("Where do I return borrowed books?", "en"),
    ("Is there a fee for overdue books?", "en"),
    ("Can children get a library card?", "en"),
    ("Does the library lend e-books?", "en"),
]


@pytest.fixture(scope="module")
def selector(use: SentenceEncoder) -> Selector:
    selector = Selector(use)
    selector.learn("city-parking-v1@1.0.0", [Example(*row) for row in PARKING], ["de", "en"])
    selector.learn("city-library-v1@1.0.0", [Example(*row) for row in LIBRARY], ["de", "en"])
    return selector


@pytest.mark.parametrize(
    ("text", "adapter"),
    [
        ("Wie teuer ist das Parken im Zentrum?", "city-parking-v1@1.0.0"),
        ("How can I get a parking permit for residents?", "city-parking-v1@1.0.0"),
        ("Wie viele Wochen darf ich Bücher behalten?", "city-library-v1@1.0.0"),
        ("What is the fine for returning a book late?", "city-library-v1@1.0.0"),
        ("Combien de livres puis-je emprunter à la bibliothèque ?", "city-library-v1@1.0.0"),
        ("Wie verlängere ich my library loan?", "city-library-v1@1.0.0"),
        ("Wie lange schläft ein Elefant?", None),
        ("Write a limerick about a penguin.", None),
        ("", None),
        ("😀", None),
    ],
)
def test_it_goes_by_meaning(selector: Selector, text: str, adapter: str | None) -> None:
    (decision,) = selector.select(selector.encoder.encode([text]), [text], [None])
    assert decision.adapter == adapter, decision.reason


def test_german_queries_find_an_adapter_with_english_examples_only(use: SentenceEncoder) -> None:
    selector = Selector(use)
    for name, rows in (("city-parking-v1@1.0.0", PARKING), ("city-library-v1@1.0.0", LIBRARY)):
        selector.learn(name, [Example(*row) for row in rows if row[1] == "en"], ["en"])
    german = [text for text, language in LIBRARY if language == "de"]
    decided = selector.select(use.encode(german), german, [None] * len(german))
    nearest = [decision.candidates[0].adapter for decision in decided]
    assert nearest.count("city-library-v1@1.0.0") >= 5
    assert sum(decision.adapter is not None for decision in decided) >= 3


def test_the_background_says_what_translation_leaves_of_a_likeness(use: SentenceEncoder) -> None:
    background = Background.encoded_by(use)
    assert 0.7 < background.translation < 0.85
    assert len(background.vectors) == len(background.languages)
