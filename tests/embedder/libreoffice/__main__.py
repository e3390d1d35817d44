"""Writes the workbooks again."""

from tests.embedder.libreoffice import write

write()
