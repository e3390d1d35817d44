"""The log: bounded entries, plain tracebacks without data, written off the caller's thread, flushed at exit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis import tracebacks
from services.chassis.logs import MAX_ENTRY
from tests import planted

ROOT = Path(__file__).parents[2]
PROGRAM = f'''
import logging, sys
from services.chassis import context, logs
from services.chassis.settings import ChassisSettings

SECRET = {planted.DOCUMENT_TEXT!r}

def nested(depth, text):
    """A function whose local variables hold a text."""
    if depth == 0:
        raise ValueError(f"invalid literal for int(): {{text!r}}")
    return nested(depth - 1, text)

def recursive(texts):
    return recursive([*texts[-3:], SECRET])

logs.set_up(ChassisSettings(log_format=sys.argv[1]), "test")
log = logs.get("test")
context.request_id.set("request-1")
for function, arguments in ((nested, (30, SECRET)), (recursive, ([SECRET],)), (float, (SECRET,))):
    try:
        function(*arguments)
    except Exception as error:
        log.error("call failed", exc_info=error)
        logging.getLogger("library").exception("a library's message")
log.info("many", text="x" * 10_000_000, **{{f"field{{n}}": "y" * 10_000 for n in range(100)}})
log.info("control \\x1b[2J", path="/\\x1b]0;title\\x07\\x7f\\x9b2J\\nforged")
try:
    raise ValueError("\\x1b[2J")
except ValueError as error:
    log.error("call failed", exc_info=error)
log.info("surrogate \\ud800", value="\\ud800")
logging.getLogger("library").info("one %s", "argument")
log.info("last")
'''


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_entries_are_bounded_and_hold_no_data(tmp_path: Path, log_format: str) -> None:
    log = tmp_path / "process.log"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos/python'}"}
    with log.open("wb") as stderr:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, log_format], stderr=stderr, env=environment, check=True, timeout=60
        )
    text = log.read_text()
    planted.assert_absent([log])
    assert "last" in text.splitlines()[-1], "what was logged before the exit is written"
    assert text.count("request-1") == 12
    for name in ("ValueError", "RecursionError", "nested", "recursive"):
        assert name in text
    if log_format == "json":
        entries = [json.loads(line) for line in text.splitlines()]
        assert [entry["event"] for entry in entries[:2]] == ["call failed", "a library's message"]
        assert entries[-2]["event"] == "one argument"
        assert all(len(line) <= MAX_ENTRY for line in text.splitlines())
    else:
        assert len(text) < 8 * MAX_ENTRY
        assert "/\\x1b]0;title\\x07\\x7f\\x9b2J\\x0aforged" in text
        assert "ValueError: \\x1b[2J" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), "a terminal would obey it"


def test_a_reader_that_does_not_read_stops_nobody(tmp_path: Path) -> None:
    """stderr is a pipe that nobody reads: the process logs far more than the pipe holds, and still ends."""
    program = PROGRAM + "\nfor number in range(20_000): log.info('line', text='z' * 1000)\nprint('done', flush=True)\n"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos/python'}"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, "json"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    assert process.wait(60) == 0
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def test_messages_keep_identifiers_and_lose_texts() -> None:
    assert tracebacks.message_of(AttributeError("'NoneType' object has no attribute 'rows'")) == (
        "'NoneType' object has no attribute 'rows'"
    )
    assert planted.DOCUMENT_TEXT not in tracebacks.message_of(KeyError(planted.DOCUMENT_TEXT))
    assert "secret" not in tracebacks.message_of(RuntimeError("(sqlite) failed\n[SQL: x]\n[parameters: ('secret',)]"))
