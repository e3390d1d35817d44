"""The sample is made of what is installed: real texts, each once, the same every time."""

from prisma_client import sample


def test_the_sample_has_thousands_of_texts_each_once() -> None:
    documents = list(sample.documents())
    assert len(documents) > 4000
    assert len({each["id"] for each in documents}) == len(documents)
    assert len({each["text"] for each in documents}) == len(documents)
    assert all(len(each["text"]) >= sample.MIN_CHARACTERS for each in documents)
    assert {each["kind"] for each in documents} == {"module", "class", "function", "method"}


def test_the_sample_is_the_same_every_time() -> None:
    assert list(sample.documents()) == list(sample.documents())


def test_a_function_knows_its_module() -> None:
    found = {each["id"]: each for each in sample.documents()}
    assert found["asyncio.tasks.wait_for"]["module"] == "asyncio.tasks"
    assert found["asyncio.tasks.wait_for"]["kind"] == "function"
