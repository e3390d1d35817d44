"""The sample is made of what is installed: real texts, each once, the same every time."""

from prisma_client import sample


def test_the_sample_has_thousands_of_texts_each_once() -> None:
    documents = list(sample.documents())
    assert len(documents) > 4000
    assert len({document["id"] for document in documents}) == len(documents)
    assert len({document["text"] for document in documents}) == len(documents)
    assert all(len(document["text"]) >= sample.MIN_CHARACTERS for document in documents)
    assert {document["kind"] for document in documents} == {"module", "class", "function", "method"}


def test_the_sample_is_the_same_every_time() -> None:
    assert list(sample.documents()) == list(sample.documents())


def test_a_function_knows_its_module() -> None:
    by_id = {document["id"]: document for document in sample.documents()}
    assert by_id["asyncio.tasks.wait_for"]["module"] == "asyncio.tasks"
    assert by_id["asyncio.tasks.wait_for"]["kind"] == "function"
