"""A server that speaks OpenAI's protocol and misbehaves by the name of its model, as real ones do now and then."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.broken_ollama import DIMENSION, IDEA, overlap, vector

PROBE = ["dimension"]
"""The texts of the embedder's own request for a model's dimension, which all models answer."""
MAX_CHARACTERS = 100
"""That the models `long` and `llama` read."""
Response = tuple[int, Mapping[str, str], Any]
"""Status, headers and body."""
LABEL = '{"label": "Ferries", "description": "Ships that carry people.", "alternatives": ["Ships"]}'
_PROSE = f"Sure! Here is the label:\n```json\n{LABEL}\n```\nDo you want another one?"


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return status, headers or {}, {"error": {"message": message, "type": "invalid_request_error"}}


_OUTAGES: dict[str, Response] = {
    "dead": _error(500, "EngineCore encountered an issue"),
    "down": (503, {}, "no healthy upstream"),
    "limited": _error(429, "Rate limit reached for requests"),
    "patient": _error(429, "Rate limit reached for tokens", {"Retry-After": "3600"}),
    "html": (200, {}, "<html>Bad gateway</html>"),
    "moved": (307, {"Location": "http://127.0.0.1:9/v1/embeddings"}, ""),
    "empty": (200, {}, {"data": None, "choices": []}),
    "odd": (200, {}, {"data": [1, 2], "choices": [1]}),
}
OUTAGES = (*_OUTAGES, "hangs", "drips", "dies")
"""Models that do not work at all until they are repaired."""


class BrokenOpenAI(ThreadingHTTPServer):
    """Records the bodies of its requests; `repaired` models behave well, `unloaded` ones decline whatever comes.

    hang_count: requests without an answer. impatient_count: those that came before a pause was over.

    crowd: lets questions to the model `crowd` pass so many at a time, and never fewer.
    key: what callers must show; empty for nothing. request_seconds, text_seconds: what an answer takes.
    """

    daemon_threads = True

    def __init__(self, *, key: str = "", request_seconds: float = 0.0, text_seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.key = key
        self.repaired: set[str] = set()
        self.unloaded: set[str] = set()
        self.embedded: list[Mapping[str, Any]] = []
        self.chats: list[Mapping[str, Any]] = []
        self.most_at_once = 0
        self.hang_count = 0
        self.impatient_count = 0
        self.crowd = threading.Barrier(1)
        self.stopped = threading.Event()
        self._request_seconds = request_seconds
        self._text_seconds = text_seconds
        self.at_once = 0
        self._free_time = 0.0
        self._patient_count = 0
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Generator[None]:
        """Counts a request that is being answered."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    @contextmanager
    def uncounted(self) -> Generator[None]:
        """Within `counted`: a request that is no longer worked on."""
        with self._lock:
            self.at_once -= 1
        try:
            yield
        finally:
            with self._lock:
                self.at_once += 1

    def embed(self, body: Mapping[str, Any]) -> Response:
        """What `/v1/embeddings` answers."""
        model, texts = body["model"], body["input"]
        with self._lock:
            self.embedded.append(body)
            number = len(self.embedded)
        time.sleep(self._request_seconds + self._text_seconds * len(texts))
        if model in self.unloaded:
            return _error(400, "Model unloaded")
        refusal = None if texts == PROBE or model in self.repaired else self._refusal(model, body, number)
        if refusal is not None:
            return refusal
        if model == "chats":
            return _error(501, "This server does not support embeddings. Start it with `--embeddings`")
        if model == "mute":
            return _error(400, "This model does not support embeddings")
        if model == "plain" and set(body) != {"model", "input"}:
            return _error(400, "Bad request")
        if model == "numbers" and body.get("encoding_format") == "base64":
            return _error(422, "encoding_format: Input should be 'float'")
        if model == "curt" and "dimensions" in body:
            return _error(400, "Bad request")
        if model == "fixed" and "dimensions" in body:
            return _error(400, "Model 'fixed' does not support matryoshka representation")
        return 200, {}, {"object": "list", "data": _data(model, body), "model": model}

    def _refusal(self, model: str, body: Mapping[str, Any], number: int) -> Response | None:
        texts: Sequence[str] = body["input"]
        if model in _OUTAGES:
            return _OUTAGES[model]
        if model == "gone":
            return _error(404, "The model `gone` does not exist.")
        if model == "flaky" and number % 3 == 0:
            return _error(500, "Internal server error")
        if model == "throttled" and (limit := self._limit()):
            return limit
        if model == "small" and len(texts) > 8:
            return _error(413, "Payload too large: at most 8 inputs")
        if model == "long" and any(len(text) > MAX_CHARACTERS for text in texts):
            return _error(400, "This model's maximum context length is 100 tokens, however you requested more")
        if model == "llama" and any(len(text) > MAX_CHARACTERS for text in texts):
            return _error(500, "input (3926 tokens) is too large to process. increase the physical batch size")
        if model == "picky" and any("ODD" in text for text in texts):
            return _error(400, "invalid input")
        return None

    def _limit(self) -> Response | None:
        """The refusal of each third request, and of all that come before the pause is over."""
        with self._lock:
            now = time.monotonic()
            if now < self._free_time:
                self.impatient_count += 1
            else:
                self._patient_count += 1
                if self._patient_count % 3:
                    return None
                self._free_time = now + 0.5
            return _error(429, "Rate limit reached", {"Retry-After": f"{self._free_time - now + 0.1:.2f}"})

    def chat(self, body: Mapping[str, Any]) -> Response:
        """What `/v1/chat/completions` answers."""
        model = body["model"]
        with self._lock:
            self.chats.append(body)
        if model not in self.repaired:
            if model in _OUTAGES:
                return _OUTAGES[model]
            if model == "throttled" and (limit := self._limit()):
                return limit
        if model == "embeds":
            return _error(500, "the current context does not support logits computation. skipping")
        if model == "filtered" and any("ODD" in message["content"] for message in body["messages"]):
            return _error(400, "The response was filtered due to the prompt triggering a content management policy")
        form = body.get("response_format", {}).get("type")
        if model in ("objects", "words") and form == "json_schema":
            return _error(400, "response_format: json_schema is not supported")
        if model in ("schemas", "words") and form == "json_object":
            return _error(400, "'response_format.type' must be 'json_schema' or 'text'")
        if model == "thinks" and "max_tokens" in body:
            return _error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if model == "thinks" and "temperature" in body:
            return _error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        if model == "narrow":
            time.sleep(0.05)  # so that questions that are sent together are there together
        if model == "crowd":
            self.crowd.wait(30)
        message = {"role": "assistant", "content": _content(model, body["messages"][-1]["content"])}
        return 200, {}, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _content(model: str, question: str) -> str | None:
    if model == "silent":
        return None
    if model == "crowd" and not question.startswith(IDEA):
        return json.dumps({"label": f"Ships of {hashlib.sha256(question.encode()).hexdigest()[:8]}"})
    if question.startswith(IDEA):
        idea, *documents = re.split(r"\n\n\[document \d+\]\n", question.removeprefix(IDEA))
        answer = json.dumps({"ratings": [overlap(idea, document) for document in documents]})
    else:
        answer = _PROSE if model == "words" else LABEL
    thoughts = {"thinks": "<think>", "template": ""}  # templates can put the opening tag into the question
    return f'{thoughts[model]}Is it {{"label": "Trains"}}?</think>\n{answer}' if model in thoughts else answer


def _data(model: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    texts: Sequence[str] = body["input"]
    entries = [
        {"object": "embedding", "index": index, "embedding": _encoded(model, text, body)}
        for index, text in enumerate(texts)
    ]
    if model == "shuffled":
        entries = [*entries[1::2], *entries[0::2]]
    if model == "unindexed":
        entries = [{"embedding": entry["embedding"]} for entry in entries]
    if model == "unclear" and len(entries) > 1:
        entries[0]["index"] = None
    if model == "doubled":
        entries = [{**entry, "index": 0} for entry in entries]
    if model == "short" and len(entries) > 1:
        entries = entries[:-1]
    return entries


def _encoded(model: str, text: str, body: Mapping[str, Any]) -> Any:
    """A text's vector, as a request wants it."""
    values = np.array(vector(text), dtype=np.float32)
    if "ODD" in text:
        broken: dict[str, Callable[[], Any]] = {
            "nan": lambda: _base64(np.full(DIMENSION, np.nan)),
            "dims": lambda: _base64(values[:-1]),
            "null": lambda: None,
            "bytes": lambda: "AAAAA===",
        }
        if model in broken:
            return broken[model]()
    if "dimensions" in body and model == "cuts":
        values = values[: body["dimensions"]]
    if body.get("encoding_format") == "base64" and model != "lists":
        return _base64(values)
    return values.tolist()


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BrokenOpenAI  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        names = ("text-embedding-good", "chat-good")
        self._respond(self._denied() or (200, {}, {"object": "list", "data": [{"id": name} for name in names]}))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not data:
            return  # the client has gone
        body = json.loads(data)
        with self.server.counted():
            if denied := self._denied():
                self._respond(denied)
            elif self._fails(body):
                self.close_connection = True
            else:
                answer = self.server.embed if self.path == "/v1/embeddings" else self.server.chat
                self._respond(answer(body))

    def _denied(self) -> Response | None:
        header = self.headers.get("Authorization", "")
        if self.server.key and header != f"Bearer {self.server.key}":
            return _error(401, f"Incorrect API key provided: {header.removeprefix('Bearer ')}.")
        return None

    def _fails(self, body: Mapping[str, Any]) -> bool:
        """Whether the answer never comes, or ends in the middle."""
        model, texts = body["model"], body.get("input", [])
        if model == "narrow" and self.server.at_once > 1:
            self.server.hang_count += 1
            with self.server.uncounted():
                self.server.stopped.wait(10)
            return True
        if model in self.server.repaired or texts == PROBE:
            return False
        if model == "hangs" or (model == "sluggish" and len(texts) > 2):
            self.server.hang_count += 1
            self.server.stopped.wait(30)
            return True
        if model not in ("dies", "drips"):
            return False
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b'{"data": [{"index": 0, "embedding": [0.1, 0.2')
        self.wfile.flush()
        while model == "drips" and not self.server.stopped.wait(0.1):
            try:
                self.wfile.write(b" ")
            except OSError:
                break
        return True

    def _respond(self, response: Response) -> None:
        status, headers, value = response
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def broken_openai(*, key: str = "", request_seconds: float = 0.0, text_seconds: float = 0.0) -> Generator[BrokenOpenAI]:
    """A running stand-in."""
    with BrokenOpenAI(key=key, request_seconds=request_seconds, text_seconds=text_seconds) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
