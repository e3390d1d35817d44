"""The fingerprint of a dataset's content: one number for a set of documents, whatever the order in which they came.

It is the sum, modulo 2^128, of a digest of each document: of its key, its text, and its vector, if it has one, by the
model that made it or by the digest of a given one. So documents that come and go change it by their digests, in the
transaction that changes them, and the same content has the same fingerprint. Metadata does not count: nothing is
trained on it. Where documents have passages, each passage with a vector adds a digest of its own to those of the
documents, which then have no vectors.
"""

from __future__ import annotations

import hashlib

import numpy as np

from services.embedder.documents import NewDocument, Vector

_BYTES = 16
_MODULUS = 1 << (8 * _BYTES)
EMPTY = "0" * (2 * _BYTES)
"""The fingerprint of no documents."""


def document_digest(key: str, text: str, vector: str | None) -> int:
    """The digest of a document. vector: the model that made its vector, or the digest of a given one; None for none."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for part in (key, text, vector or ""):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


def passage_digest(key: str, text: str, model: str) -> int:
    """The digest of a passage that has a vector. key: its document's."""
    return document_digest(key, text, model)


def new_digest(document: NewDocument) -> int:
    """The digest of a document that is imported, with its vector if that is given."""
    vector = None if document.vector is None else vector_digest(document.vector)
    return document_digest(document.key, document.text, vector)


def vector_digest(vector: Vector) -> str:
    """The digest of a given vector's values, (d,) float16 or float32."""
    values = vector.astype(np.float32) + np.float32(0)  # 0 for -0, which is equal to it
    return hashlib.blake2b(values.tobytes(), digest_size=_BYTES).hexdigest()


def moved(fingerprint: str, digests: int) -> str:
    """A fingerprint after digests were added to the sum; negative for those of documents that went."""
    return f"{(int(fingerprint, 16) + digests) % _MODULUS:0{2 * _BYTES}x}"
