"""What people do to a query without changing what it asks: pure functions of a text and chance."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

_ROWS = {
    "de": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "en": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
}
_UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS"}
)
_PREAMBLES = {
    "de": (
        "Guten Tag, könnten Sie mir bitte kurz weiterhelfen?",
        "Hallo, ich hätte da mal eine Frage.",
        "Entschuldigung, dass ich störe, aber ich komme allein nicht weiter.",
    ),
    "en": (
        "Good morning, could you please help me for a moment?",
        "Hi there, I have a quick question.",
        "Sorry to bother you, but I am stuck and need some help.",
    ),
}
_TRAILERS = {
    "de": (
        "Vielen Dank im Voraus für Ihre Mühe!",
        "Das wollte ich schon lange einmal wissen.",
        "Es eilt nicht, aber eine kurze Antwort würde mir reichen.",
    ),
    "en": (
        "Thank you very much in advance!",
        "I have been meaning to ask this for a while.",
        "There is no hurry, a short answer will do.",
    ),
}

Change = Callable[[str, str, Random], str]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """``change`` takes a text, its language and chance; ``language`` is the only one it is for."""

    name: str
    change: Change
    language: str | None = None

    def of(self, text: str, language: str, seed: int = 0) -> str:
        """The text as it becomes; the same for the same seed."""
        return self.change(text, language, Random(f"{seed} {self.name} {text}"))


def typos(text: str, language: str, rng: Random, edits: int = 1) -> str:
    """Other keys hit in ``edits`` places, or in all that there are: each a neighbour of the right
    one on the language's keyboard, its case kept.
    """
    near = neighbours(language)
    letters = [place for place, letter in enumerate(text) if letter.lower() in near]
    changed = list(text)
    for place in rng.sample(letters, min(edits, len(letters))):
        letter = text[place]
        hit = rng.choice(near[letter.lower()])
        changed[place] = hit if letter == letter.lower() else hit.upper()
    return "".join(changed)


@cache
def neighbours(language: str) -> Mapping[str, str]:
    """The letters around each letter of a language's keyboard, the English one where unknown.

    Each row stands half a key to the right of the row above.
    """
    rows = _ROWS.get(language, _ROWS["en"])
    place = {
        letter: (column + row / 2, row)
        for row, keys in enumerate(rows)
        for column, letter in enumerate(keys)
    }
    return {
        letter: "".join(
            other
            for other, (x, y) in place.items()
            if other != letter and abs(x - at) <= 1 and abs(y - row) <= 1
        )
        for letter, (at, row) in place.items()
    }


def without_punctuation(text: str) -> str:
    """Words alone: dashes and slashes between them become spaces, other marks vanish."""
    kept = [_unmarked(character) for character in text]
    return " ".join("".join(kept).split())


def _unmarked(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Pd" or character == "/":
        return " "
    return "" if category.startswith("P") else character


def transliterated(text: str) -> str:
    """German as it is typed on a keyboard without umlauts: ae, oe, ue, ss."""
    return unicodedata.normalize("NFC", text).translate(_UMLAUTS)


def mixed(first: str, second: str) -> str:
    """The first half of one text's words and the second half of the other's, a translation."""
    beginning, end = first.split(), second.split()
    return " ".join(beginning[: (len(beginning) + 1) // 2] + end[len(end) // 2 :])


def with_preamble(text: str, language: str, rng: Random) -> str:
    """After a polite sentence that says nothing."""
    return f"{rng.choice(_PREAMBLES.get(language, _PREAMBLES['en']))} {text}"


def with_trailer(text: str, language: str, rng: Random) -> str:
    """Before a sentence that says nothing, a full stop put between them where there is no mark."""
    ended = text if text[-1:] in (".", "?", "!") else f"{text}."
    return f"{ended} {rng.choice(_TRAILERS.get(language, _TRAILERS['en']))}"


PERTURBATIONS = (
    Perturbation("none", lambda text, _, __: text),
    Perturbation("1 typing error", typos),
    Perturbation("2 typing errors", lambda text, language, rng: typos(text, language, rng, 2)),
    Perturbation("all capitals", lambda text, _, __: text.upper()),
    Perturbation("lower case", lambda text, _, __: text.lower()),
    Perturbation("no punctuation", lambda text, _, __: without_punctuation(text)),
    Perturbation("ae, oe, ue, ss", lambda text, _, __: transliterated(text), "de"),
    Perturbation("polite preamble", with_preamble),
    Perturbation("trailing sentence", with_trailer),
    Perturbation(
        "both sentences",
        lambda text, language, rng: with_trailer(with_preamble(text, language, rng), language, rng),
    ),
)
