"""Vectors and forms as the client sends them."""

from __future__ import annotations

import email
import io
from email import policy
from typing import Any

import numpy as np
import pytest

from prisma_client.arrays import form_chunks, npy_chunks


def test_numbers_keep_their_type_and_others_become_32_bits() -> None:
    for kind, dtype in ((np.float16, "<f2"), (np.float64, "<f8"), (np.int64, "<f4")):
        array = np.load(io.BytesIO(b"".join(npy_chunks(np.arange(6, dtype=kind).reshape(2, 3)))))
        assert (array.dtype.str, array.tolist()) == (dtype, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("vectors", [np.ones((2, 2), np.complex64), [[1.0, 2 + 1j]], [["a"]], [[1], [1, 2]], [1.0]])
def test_what_is_no_vector_is_refused(vectors: Any) -> None:
    with pytest.raises(TypeError, match="vectors: "):
        npy_chunks(vectors)


def test_a_file_that_holds_an_earlier_form_arrives_whole() -> None:
    earlier_type, earlier = form_chunks(iter([b"documents"]), iter([b"vectors"]))
    file = b"".join(earlier)
    content_type, form = form_chunks(iter([file]), iter([b"vectors"]))
    assert content_type != earlier_type
    message = email.message_from_bytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + b"".join(form), policy=policy.HTTP
    )
    parts = [part.get_payload(decode=True) for part in message.iter_parts()]  # type: ignore[attr-defined]
    assert [bytes(part).replace(b"\r\n", b"\n") for part in parts] == [file.replace(b"\r\n", b"\n"), b"vectors"]
