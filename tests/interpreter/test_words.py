"""Keywords, prompts, and families, on small corpora where the right answer is plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from services.interpreter import families, prompts, tokens
from services.interpreter.cooccurrence import MIN_SHARED
from services.interpreter.corpus import Corpus
from services.interpreter.evidence import Active, Evidence, Part
from services.interpreter.keywords import Contrast, contrasts
from services.interpreter.terms import TermCounts, WordTable
from services.interpreter.tokens import Language

ENGLISH = Language.of(WordTable(["the cat and the dog are in the house of the man"]).counts())


NOTHING = np.empty(0, np.uint64)


def evidence(latent: int, rows: list[int]) -> Evidence:
    """All of a latent's documents are for writing."""
    activations = np.linspace(2.0, 1.0, len(rows))
    writing = Active(rows=np.array(rows, np.uint64), activations=activations, deciles=np.zeros(len(rows), np.int64))
    nothing = Part(active=writing.take(np.zeros(len(rows), bool)), hard=NOTHING, random=NOTHING)
    return Evidence(
        latent=latent, density=len(rows) / 100, writing=writing, choosing=nothing, scoring=nothing, duplicate_count=0
    )


def contrasts_of(
    latents: list[Evidence], texts: dict[int, str], background: dict[int, str] | None = None
) -> list[Contrast]:
    corpus = Corpus(background or texts)
    rows = np.unique(np.concatenate([latent.rows for latent in latents]))
    return contrasts(latents, corpus.documents(rows, texts), corpus)


def corpus() -> dict[int, str]:
    """100 texts: each tenth is of event loops, each tenth of socket errors; all speak of a value 42."""
    texts = {}
    for row in range(100):
        topic = {0: "The event loop runs a coroutine", 1: "A socket error of the network"}.get(row % 10, "Plain words")
        texts[row] = f"{topic} and returns the value 42, number {row}."
    return texts


def test_a_label_says_what_the_activating_documents_share_and_others_lack() -> None:
    texts = corpus()
    loops, sockets = evidence(7, list(range(0, 100, 10))), evidence(8, list(range(1, 100, 10)))
    first, second = contrasts_of([loops, sockets], texts)
    assert "event loop" in str(first.name)
    assert "socket error" in str(second.name)
    for named in (first, second):
        assert not {"value", "42", "the", "returns"} & {
            word for keyword in named.keywords for word in keyword.term.split()
        }
        assert (named.keywords[0].share, named.keywords[0].other_share) == (1, 0)


def test_a_label_covers_documents_that_its_first_word_does_not() -> None:
    texts = corpus()
    for place, row in enumerate(range(2, 100, 10)):
        texts[row] = "A tunnel opens its gate." if place in (3, 6, 9) else "A harbour pilot boards a harbour ship."
    name = str(contrasts_of([evidence(9, list(range(2, 100, 10)))], texts)[0].name)
    assert any(word in name for word in ("harbour", "pilot", "ship")), name
    assert any(word in name for word in ("tunnel", "opens", "gate")), name


def test_labels_do_not_depend_on_batches_or_the_order_of_others() -> None:
    texts = corpus()
    some = [evidence(latent, list(range(latent, 100, 7))) for latent in range(7)]
    together = contrasts_of(some, texts)
    assert together == [contrasts_of([latent], texts)[0] for latent in some]
    assert together == contrasts_of(list(reversed(some)), texts)[::-1]


@pytest.mark.parametrize("text", ["1 2 3", "", "the of and", "。。。", "7"])
def test_documents_without_a_word_have_no_name(text: str) -> None:
    assert contrasts_of([evidence(3, [1, 2])], dict.fromkeys(range(30), text))[0] == Contrast([], [], None)


def test_a_word_that_is_as_frequent_elsewhere_by_chance_is_no_keyword() -> None:
    random = np.random.default_rng(0)
    words = ["".join(letters) for letters in random.choice(list("abcdefghij"), (60, 7))]
    texts = {row: " ".join(random.choice(words, 8)) for row in range(2000)}
    some = [evidence(latent, random.choice(2000, 60, replace=False).tolist()) for latent in range(20)]
    terms = [keyword.term for contrast in contrasts_of(some, texts) for keyword in contrast.phrases]
    assert len([term for term in terms if " " not in term]) <= 4, "of 1,200 words"


def test_a_document_that_is_not_in_the_background_is_read() -> None:
    texts = corpus()
    background = {row: text for row, text in texts.items() if row % 20}
    assert "event loop" in str(contrasts_of([evidence(7, list(range(0, 100, 10)))], texts, background)[0].name)


def test_terms_are_words_and_phrases_without_stop_words_numbers_and_sentence_ends() -> None:
    assert tokens.terms("The event-loop runs. Sockets, of course: utf8 and 42", ENGLISH) == [
        "event",
        "loop",
        "event loop",
        "runs",
        "loop runs",
        "event loop runs",
        "sockets",
        "utf8",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("日本語の文", ["日本語"]),
        ("画像に含まれます", ["画像"]),  # 含 is the stem of a verb
        ("ユーザインターフェイスのデータ", ["ユーザインターフェイス", "データ"]),
        ("画像カメラ iPhone", ["画像", "カメラ", "画像 カメラ", "iphone", "カメラ iphone", "画像 カメラ iphone"]),
        ("数据库", ["数据", "数据 库"]),  # 库 by itself is no term
        ("上海高速铁路", ["上海", "高速", "上海 高速", "铁路", "高速 铁路", "上海 高速 铁路"]),
        ("สถานีรถไฟ ภาษาไทย", ["สถานี", "รถไฟ", "สถานี รถไฟ", "ภาษา", "ไทย", "ภาษา ไทย"]),
        ("រូបភាព\u200bភាសា", ["រូបភាព", "ភាសា", "រូបភាព ភាសា"]),
        ("부산항의 여객선", ["부산항의", "여객선", "부산항의 여객선"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा", "हिन्दी भाषा"]),
        ("learn C++ or C#", ["learn", "c++", "learn c++", "c#"]),
        ("the user's pass​word, don't", ["user", "password", "user password"]),
        ("café", ["café"]),
        ("read_file 👍 x2", ["read", "file", "read file", "x2"]),
    ],
)
def test_terms_of_other_scripts_and_of_code(text: str, expected: list[str]) -> None:
    assert tokens.terms(text, ENGLISH) == expected


def test_labels_of_hindi_are_whole_words() -> None:
    topics = {
        0: "हिन्दी भाषा में समुद्री बंदरगाह",
        1: "रेलगाड़ी सुबह छह बजे चलती है",
        2: "नदी के किनारे गाँव",
        3: "अदालत ने फैसला सुनाया",
    }
    texts = {row: topics[row % 4] for row in range(40)}
    some = [evidence(topic, list(range(topic, 40, 4))) for topic in topics]
    for topic, named in zip(topics, contrasts_of(some, texts), strict=True):
        label_words = {word for keyword in named.keywords for word in keyword.term.split()}
        assert label_words
        assert label_words <= set(topics[topic].split()), named


def test_labels_of_chinese_are_words_and_phrases_as_people_write_them() -> None:
    texts = {
        row: f"{'上海' if row % 2 else '北京'}的{'高速铁路' if row % 3 == 0 else '渡轮'}{'很快' if row % 5 else '停了'}"
        for row in range(60)
    }
    assert contrasts_of([evidence(1, list(range(0, 60, 3)))], texts)[0].name == "高速铁路"


def test_korean_words_lose_the_particles_that_the_corpus_shows_to_be_none_of_the_word() -> None:
    texts = ["고양이가 프로그램을 시작하는 GTK를", "고양이는 프로그램은 시작합니다", "고양이 프로그램에서"]
    language = Language.of(WordTable(texts).counts())
    assert tokens.terms("고양이를 프로그램을 시작하는 GTK를", language) == [
        "고양이를",  # in no text of the corpus
        "프로그램",
        "고양이를 프로그램",
        "시작",
        "프로그램 시작",
        "고양이를 프로그램 시작",
        "gtk",
        "시작 gtk",
        "프로그램 시작 gtk",
    ]
    assert tokens.terms("고양이가", language) == ["고양이"]


def test_labels_leave_out_stop_words_of_the_request() -> None:
    texts = corpus()
    background = Corpus(texts)
    loops = evidence(7, list(range(0, 100, 10)))
    documents = background.documents(loops.rows, texts)
    named = contrasts([loops], documents, background, ["LOOP"])[0]
    assert named.name == "coroutine" or "event" in str(named.name)
    assert not [phrase.term for phrase in named.phrases if "loop" in phrase.term.split()]


def test_words_that_name_things_are_no_stop_words() -> None:
    assert {"shell", "text", "computer"}.isdisjoint(ENGLISH.stop_words)


@pytest.mark.parametrize(
    ("text", "stop_word"),
    [("ฉันไปที่ตลาดของเมืองและกลับบ้านในตอนเย็น", "ของ"), ("这是一个关于机器的问题，但是我们没有办法", "一个")],
)
def test_the_language_of_texts_without_spaces_decides_their_stop_words(text: str, stop_word: str) -> None:
    assert stop_word in Language.of(WordTable([text] * 5).counts()).stop_words


PIECES = [
    *"abcd",
    "the",
    "1",
    "x_yy",
    "Zz.",
    "-",
    "Don't",
    "'",
    "_",
    "C++",
    "👍",
    "語文",
    "データ",
    "の",
    "\u200b",
    "é",
]
BLANKS = [" ", " ", " ", "", "\n", "\n\n", "\t \n", "\u00a0"]


@given(st.lists(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(BLANKS))), max_size=25))
def test_the_terms_of_a_corpus_are_those_of_its_texts(pieces_of_texts: list[list[tuple[str, str]]]) -> None:
    texts = ["".join(piece * 2 + blank for piece, blank in pieces) for pieces in pieces_of_texts]
    counts = TermCounts(WordTable(texts), ENGLISH)
    contained = [set(tokens.terms(text, ENGLISH)) for text in texts]
    required = 2 if len(texts) > 20 else 1
    vocabulary = {
        term for terms in contained for term in terms if sum(term in other for other in contained) >= required
    }
    assert list(counts.terms) == sorted(vocabulary)
    expected = [[term in terms for term in counts.terms] for terms in contained]
    assert counts.documents.toarray().tolist() == expected == counts.transform(texts).toarray().tolist()


def test_the_languages_of_a_corpus_decide_its_stop_words() -> None:
    texts = ["il gatto e il cane sono nella casa della nonna che li ama"] * 5
    italian = tokens.stop_words(WordTable(texts).counts())
    assert {"della", "nella", "che", "the"} <= italian
    assert "casa" not in italian


@given(st.text())
def test_any_text_gives_terms_in_lower_case(text: str) -> None:
    for term in tokens.terms(text, ENGLISH):
        assert term == term.lower()
        assert 1 <= len(term.split(" ")) <= tokens.MAX_WORDS


@pytest.mark.parametrize(
    "content",
    [
        '{"label": "Event loops", "description": "They run."}',
        '```json\n{"label": "\\"Event loops\\".", "description": "They run."}\n```',
        'Here it is: {"label": "Event  loops", "description": "They\\nrun."} I hope it helps',
    ],
)
def test_a_models_answer_is_read(content: str) -> None:
    assert prompts.read(content) == prompts.Answer("Event loops", "They run.")


@pytest.mark.parametrize("content", ["", "no", "{}", '{"label": " "}', '{"label": 3}', '{"label": "cut of', "[1]"])
def test_what_is_no_label_is_refused(content: str) -> None:
    with pytest.raises(prompts.NotALabel, match="expected"):
        prompts.read(content)


@st.composite
def codes(draw: st.DrawFn) -> np.ndarray:
    n = draw(st.integers(2, 12))
    return np.array(draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=4, max_size=60)), np.int64)


@given(codes())
def test_families_are_trees_from_denser_to_sparser_features(active: np.ndarray) -> None:
    counts = active.T @ active
    density = active.mean(axis=0)
    built = families.published(sparse.csr_array(counts), options=families.Options(threshold=0.2))
    removed: set[int] = set()
    for number in (1, 2, 3):
        round_families = [family for family in built if family.round == number]
        for family in round_families:
            assert len(family.members) > 1
            reached = set()
            for member in family.members:
                if member.parent is None:
                    assert member.index == family.root
                else:
                    assert member.parent in reached, "a parent comes before its children"
                    assert (-density[member.parent], member.parent) < (-density[member.index], member.index)
                    shared = counts[member.parent, member.index]
                    assert shared >= MIN_SHARED
                    least = min(counts[member.parent, member.parent], counts[member.index, member.index])
                    assert member.weight == pytest.approx(shared / least)
                    assert member.weight >= 0.2
                reached.add(member.index)
            assert not reached & removed, "the roots of earlier rounds are gone"
        removed |= {family.root for family in round_families}


def test_a_family_is_what_activates_under_a_parent() -> None:
    # 0 is active in all; 1 and 2 in halves of it; 3 within 1; 4 alone.
    active = np.zeros((40, 5), np.int64)
    active[:20, 0] = active[:10, 1] = active[10:20, 2] = active[:5, 3] = active[30:, 4] = 1
    built = families.published(sparse.csr_array(active.T @ active))
    first = built[0]
    assert (first.root, first.id) == (0, "1-0")
    assert {member.index: member.parent for member in first.members} in (
        {0: None, 1: 0, 2: 0, 3: 0},
        {0: None, 1: 0, 2: 0, 3: 1},
    )
    assert [(family.round, family.root) for family in built[1:]] == [(2, 1)]


def test_an_identifier_without_letters_is_no_word() -> None:
    assert [word.text for word in tokens.words("_:0 _'s name")] == ["", "s", "name"]
