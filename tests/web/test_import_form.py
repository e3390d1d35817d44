"""The form of an import: what each column becomes, own vectors, passages, and providers that are down."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from prisma_client import Prisma
from tests.stack import Stack
from tests.web.keys import press_enter
from tests.web.test_page import AXE, RULES, VIOLATIONS

COUNT, DIMENSION = 60, 16


@pytest.fixture
def prisma(stack: Stack) -> Iterator[Prisma]:
    """Deletes the datasets of the test."""
    with Prisma(stack.url) as connected:
        before = {dataset.id for dataset in connected.datasets.list()}
        yield connected
        for dataset in connected.datasets.list():
            if dataset.id not in before:
                dataset.delete()


def table(path: Path, columns: Sequence[str], count: int = COUNT) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([f"{column} {row}" for column in columns] for row in range(count))
    return path


def vectors(path: Path, count: int) -> Path:
    np.save(path, np.random.default_rng(7).normal(size=(count, DIMENSION)).astype(np.float32))
    return path


def test_columns_are_chosen_by_keys(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", table(tmp_path / "shop.csv", ("id", "title", "body", "colour", "size")))
    first = page.get_by_role("region", name="First documents").get_by_role("row").nth(1)
    expect(first).to_contain_text("id 0")
    page.get_by_label("Texts from").select_option("title")
    page.get_by_label("Joined with").select_option("body")
    page.get_by_label("Joined with").last.select_option("colour")
    expect(first).to_contain_text(re.compile(r"title 0\s+body 0\s+colour 0"))
    page.get_by_label("Ids from").select_option("no column: the place in the file")
    expect(first.get_by_role("cell").first).to_have_text("1")
    summary = page.get_by_text("Metadata from 2 other columns")
    summary.press("Enter")
    page.get_by_role("checkbox", name="size").press("Space")
    expect(page.get_by_text("Metadata from 1 of 2 other columns")).to_be_visible()
    expect(first).not_to_contain_text("size 0")
    press_enter(page.get_by_role("button", name="None", exact=True))
    expect(page.get_by_text("No metadata")).to_be_visible()
    expect(first.get_by_role("cell").last).to_have_text("")
    press_enter(page.get_by_role("button", name="All", exact=True))
    page.get_by_role("checkbox", name="size").press("Space")
    expect(first).to_contain_text("id 0")
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT} documents imported")).to_be_visible()
    document = next(iter(prisma.datasets.get("shop").documents()))
    assert document.key == "1" and document.text == "title 0\n\nbody 0\n\ncolour 0"
    assert dict(document.metadata) == {"id": "id 0"}


def test_own_vectors_stand_beside_a_file(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    file = table(tmp_path / "own.csv", ("id", "text"))
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", [file, vectors(tmp_path / "wrong.npy", COUNT + 1)])
    expect(page.get_by_label(re.compile("^Vectors"))).to_have_value("=file")
    page.get_by_label("Model that made the vectors").fill("mine")
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_role("alert")).to_contain_text("the file has 60 items, the NumPy array 61 rows")
    assert "own" not in {dataset.id for dataset in prisma.datasets.list()}, "the empty dataset is gone"
    page.get_by_label("NumPy file (.npy) with a row for each item").set_input_files(
        vectors(tmp_path / "right.npy", COUNT)
    )
    expect(page.get_by_text("right.npy")).to_be_visible()
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT} documents imported")).to_be_visible()
    dataset = prisma.datasets.get("own").message
    assert (dataset.embedding_model, dataset.dimension, dataset.embedded_count) == ("given/mine", DIMENSION, COUNT)


def test_vectors_alone_become_documents(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", vectors(tmp_path / "alone.npy", COUNT))
    expect(page.get_by_text("Each row of this array becomes a document")).to_be_visible()
    page.get_by_label("Model for the texts of queries").select_option("")
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT} documents imported")).to_be_visible()
    assert prisma.datasets.get("alone").message.embedded_count == COUNT


def test_vectors_of_a_column_are_used_where_a_person_says_so(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    file = tmp_path / "inside.jsonl"
    file.write_text("".join(f'{{"id": "{row}", "text": "text {row}", "emb": [{row}, 1.5]}}\n' for row in range(5)))
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", file)
    expect(page.get_by_label(re.compile("^Embedding model"))).to_be_visible()
    page.get_by_label(re.compile("^Vectors")).select_option("emb")
    expect(page.get_by_label(re.compile("^Embedding model"))).to_have_count(0)
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text("5 documents imported")).to_be_visible()
    assert prisma.datasets.get("inside").message.embedding_model == "given"


def test_a_dataset_is_created_with_passages(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    file = tmp_path / "essay.jsonl"
    file.write_text('{"id": "a", "text": "' + "One sentence about rivers and bridges. " * 60 + '"}\n{"id": "b"}\n')
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", file)
    page.get_by_label("Split long texts into passages").press("Space")
    page.get_by_label("Tokens at most").press_sequentially("64")
    page.get_by_label("Tokens repeated").press_sequentially("8")
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text("1 document imported")).to_be_visible()
    with page.expect_download() as download:
        press_enter(page.get_by_role("link", name="Rejected items"))
    assert "MISSING_TEXT" in download.value.path().read_text()
    passages = prisma.datasets.get("essay").message.passages
    assert (passages.max_tokens, passages.overlap_tokens) == (64, 8) and passages.passage_count > 3


def test_an_interrupted_import_goes_on_in_its_dataset(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    def cut(route: Route) -> None:
        prisma.datasets.get("cut").add([{"id": "id 0", "text": "text 0"}])
        route.abort()

    page.route(re.compile("documents:import"), cut, times=1)
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", table(tmp_path / "cut.csv", ("id", "text")))
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_role("alert")).to_contain_text("documents that arrived are not imported twice")
    expect(page.get_by_text("Documents are added to cut.")).to_be_visible()
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT - 1} documents imported")).to_be_visible()
    assert [dataset.id for dataset in prisma.datasets.list() if dataset.id.startswith("cut")] == ["cut"]
    assert prisma.datasets.get("cut").message.document_count == COUNT


def test_interrupted_vectors_alone_would_be_added_once_more(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    page.route(re.compile("documents:import"), lambda route: route.abort(), times=1)
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", vectors(tmp_path / "rows.npy", COUNT))
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_role("alert")).to_contain_text("would add them once more")
    expect(page.get_by_label("Name", exact=True)).to_have_value("rows")
    assert "rows" not in {dataset.id for dataset in prisma.datasets.list()}


def test_a_second_file_becomes_a_second_dataset(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    page.goto("/datasets?new=1")
    for name in ("first", "second"):
        page.set_input_files("input[type=file]", table(tmp_path / f"{name}.csv", ("id", "text")))
        expect(page.get_by_label("Name", exact=True)).to_have_value(name)
        press_enter(page.get_by_role("button", name="Import", exact=True))
        expect(page.get_by_role("link", name="Open the dataset")).to_have_attribute("href", f"/datasets/{name}")
    press_enter(page.get_by_role("button", name="Create another dataset"))
    page.get_by_label("Name", exact=True).fill("third")
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_role("link", name="Open the dataset")).to_have_attribute("href", "/datasets/third")
    counts = [prisma.datasets.get(name).message.document_count for name in ("first", "second", "third")]
    assert counts == [COUNT] * 3


def test_files_that_would_not_be_imported_are_refused(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    file = table(tmp_path / "one.csv", ("id", "text"))
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", [file, table(tmp_path / "two.csv", ("id", "text"))])
    expect(page.get_by_role("alert")).to_contain_text("Import one file at a time")
    expect(page.get_by_text("one.csv")).to_have_count(0)
    prisma.datasets.create("By a model", [{"id": "a", "text": "a text"}], dataset_id="by-a-model")
    page.goto("/datasets/by-a-model")
    press_enter(page.get_by_role("button", name="Add documents"))
    page.set_input_files("input[type=file]", [file, vectors(tmp_path / "own.npy", COUNT)])
    expect(page.get_by_role("alert")).to_contain_text("the vectors of this dataset are made by its embedding model")
    page.set_input_files("input[type=file]", file)
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT} documents imported")).to_be_visible()


def test_a_changed_option_ends_the_upload_of_the_preview_before(page: Page, tmp_path: Path) -> None:
    uploads: list[Route] = []
    page.route(re.compile("documents:preview"), lambda route: uploads.append(route), times=1)
    page.goto("/datasets?new=1")
    with page.expect_request(re.compile("documents:preview")):
        page.set_input_files("input[type=file]", table(tmp_path / "options.csv", ("id", "text")))
    page.get_by_text("How the file is read").press("Enter")
    with page.expect_event("requestfailed") as failed:
        page.get_by_label(re.compile("^Format")).select_option("CSV")
    assert failed.value == uploads[0].request
    expect(page.get_by_role("region", name="First documents")).to_contain_text("text 0")
    expect(page.get_by_text("Looking into the file")).to_have_count(0)


def test_an_import_is_cancelled_by_keys(page: Page, prisma: Prisma, tmp_path: Path) -> None:
    uploads: list[Route] = []
    page.route(re.compile("documents:import"), lambda route: uploads.append(route), times=1)
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", table(tmp_path / "stopped.csv", ("id", "text")))
    with page.expect_request(re.compile("documents:import")):
        press_enter(page.get_by_role("button", name="Import", exact=True))
    press_enter(page.get_by_role("button", name="Cancel", exact=True))
    expect(page.get_by_text("The import was cancelled; no document was imported.")).to_be_visible()
    assert "stopped" not in {dataset.id for dataset in prisma.datasets.list()}
    press_enter(page.get_by_role("button", name="Import", exact=True))
    expect(page.get_by_text(f"{COUNT} documents imported")).to_be_visible()


def test_a_provider_that_is_down_is_named_with_the_reason(page: Page) -> None:
    page.route(
        "**/v1/embeddingModels",
        lambda route: route.fulfill(
            json={
                "embeddingModels": [
                    {"id": "builtin/x", "displayName": "Built in", "dimension": 256, "maxTokens": 0, "isDefault": True},
                    {"id": "lab/broken", "displayName": "Broken", "dimension": 0, "error": "it answers with HTML"},
                ],
                "unreachable": [{"provider": "ollama", "message": "ollama at http://gpu:11434 does not answer"}],
            }
        ),
    )
    page.goto("/datasets?new=1")
    models = page.get_by_role("list", name="Models that do not work now")
    expect(models).to_contain_text("ollama · down ollama at http://gpu:11434 does not answer")
    expect(models).to_contain_text("lab/broken · down it answers with HTML")
    expect(page.get_by_role("option", name="Broken · down")).to_be_disabled()
    page.unroute("**/v1/embeddingModels")
    press_enter(models.get_by_role("button", name="Try again"))
    expect(page.get_by_role("option", name=re.compile("^WordLlama"))).to_have_count(1)


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1920, "light")])
def test_the_form_is_accessible_and_fits(
    browser: Browser, stack: Stack, tmp_path: Path, width: int, theme: str
) -> None:
    columns = ("id", "text", "a column with a name that is far longer than any table has room for, and goes on")
    context = browser.new_context(
        base_url=stack.url, viewport={"width": width, "height": 900}, reduced_motion="reduce", bypass_csp=True
    )
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto("/datasets?new=1")
    name = "a file with a long name " * 5 + ".csv"
    page.set_input_files("input[type=file]", [table(tmp_path / name, columns), vectors(tmp_path / "own.npy", COUNT)])
    page.get_by_text("Metadata from").press("Enter")
    expect(page.get_by_text("own.npy")).to_be_visible()
    page.add_script_tag(content=AXE.read_text())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = page.evaluate(VIOLATIONS, RULES)
    assert violations == [], violations
    context.close()
