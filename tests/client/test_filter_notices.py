"""A filter that asks in vain says so, in Python and on the command line."""

from __future__ import annotations

import os
import subprocess
import warnings

import pytest

from prisma_client import FilterNotice, Prisma
from tests.client.scripted_gateway import Answer, reply, scripted
from tests.stack import PRISMA

NOTICE = "no document has the metadata key 'yaer'; did you mean 'year'?"


def answers(*notices: str) -> list[Answer]:
    """The dataset, and two pages of its documents."""
    documents = [{"name": f"datasets/d/documents/{key}", "key": key} for key in "ab"]
    first = {"documents": documents[:1], "nextPageToken": "more", "notices": list(notices)}
    return [reply(200, {"name": "datasets/d"}), reply(200, first), reply(200, {**first, "nextPageToken": ""})]


def test_the_sdk_warns_once_and_lists_have_the_notices() -> None:
    with scripted(answers(NOTICE)) as gateway, Prisma(gateway.url) as prisma:
        documents = prisma.datasets.get("d").documents("metadata.yaer > 1")
        assert documents.notices == []
        with pytest.warns(FilterNotice, match="did you mean 'year'") as warned:
            rows = documents.collect()
        assert (len(warned), documents.notices, rows.notices) == (1, [NOTICE], [NOTICE])
        assert "did you mean" in rows._repr_html_()
    with scripted(answers()) as gateway, Prisma(gateway.url) as prisma, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(prisma.datasets.get("d").documents("metadata.year > 1").collect()) == 2


def test_the_command_says_it_on_standard_error() -> None:
    for notices in ([], [NOTICE]):
        with scripted(answers(*notices)) as gateway:
            environment = {**os.environ, "PRISMA_URL": gateway.url}
            command = [PRISMA, "documents", "d", "--filter", "metadata.yaer > 1"]
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.splitlines() == [f"prisma: {notice}" for notice in notices]
        assert len(ended.stdout.splitlines()) == 2
