"""Texts of several kinds and languages for `benchmarks truth`, made from Debian packages that are installed.

`apt-get install fortunes linux-doc manpages-de` and `apt-get -o Acquire::Languages=en update` (then `=ja`, `=zh_CN`)
provide them. A corpus whose source is not installed raises `CorpusMissing`, and the benchmark reports that it was left
out.
"""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prisma_client import sample

MIN_CHARACTERS = 40
MAX_CHARACTERS = 2000
_SEED = 7
_APT_LISTS = Path("/var/lib/apt/lists")
_PARAGRAPH = re.compile(r"\n\s*\n")


class CorpusMissing(LookupError):
    """What the corpus is made from is not installed."""


@dataclass(frozen=True)
class Text:
    """A document of a corpus."""

    text: str
    group: str
    """What its source says that it is about: a section, a topic file, a folder."""


def names() -> list[str]:
    """The corpora, in the order in which they are measured."""
    return list(_CORPORA)


def read(name: str, limit: int | None = None) -> list[Text]:
    """The texts of a corpus in a fixed order, none twice; a seeded sample of `limit` of them. Raises CorpusMissing."""
    texts: dict[str, Text] = {}
    for text in _CORPORA[name]():
        cleaned = " ".join(text.text.split())
        if len(cleaned) >= MIN_CHARACTERS:
            texts.setdefault(cleaned, Text(cleaned[:MAX_CHARACTERS], text.group))
    if not texts:
        raise CorpusMissing(f"{name}: its source is not installed")
    corpus = list(texts.values())
    if limit is None or limit >= len(corpus):
        return corpus
    places = np.sort(np.random.default_rng(_SEED).permutation(len(corpus))[:limit])
    return [corpus[place] for place in places.tolist()]


def _debian(language: str, *, long: bool) -> Iterator[Text]:
    """Descriptions of Debian's packages, the package's own name masked in long ones."""
    for file in sorted(_APT_LISTS.glob(f"*_main_i18n_Translation-{language.replace('_', '%5f')}*")):
        content = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(file)], capture_output=True, check=True
        ).stdout.decode()
        for paragraph in content.split("\n\n"):
            match = re.search(rf"^Description-{language}: (.*)((?:\n .*)*)", paragraph, re.MULTILINE)
            name = re.search(r"^Package: (.*)", paragraph, re.MULTILINE)
            if match is None or name is None:
                continue
            body = re.sub(r"^ \.?", "", match[2], flags=re.MULTILINE)
            group = name[1].partition("-")[0]
            yield Text(f"{match[1]}. {body}" if long else match[1], group)


def _fortunes() -> Iterator[Text]:
    for file in sorted(Path("/usr/share/games/fortunes").glob("*")):
        if file.is_file() and not file.suffix:
            for text in file.read_text(encoding="utf-8", errors="replace").split("\n%\n"):
                yield Text(text, file.name)


def _kernel_documentation() -> Iterator[Text]:
    root = next(iter(sorted(Path("/usr/share/doc").glob("linux-doc-*/html/_sources"))), None)
    for file in sorted(root.rglob("*.rst.txt*")) if root else ():
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for paragraph in _PARAGRAPH.split(content.decode("utf-8", errors="replace")):
            if len(paragraph.split()) >= 15 and not paragraph.lstrip().startswith(("..", "|", "+", ":")):
                yield Text(paragraph, file.relative_to(root).parts[0] if root else "")


def _german_manual_pages() -> Iterator[Text]:
    for file in sorted(Path("/usr/share/man/de").glob("man*/*.gz")):
        for paragraph in re.split(r"^\.(?:PP|P|LP|TP|IP|SH|SS|sp)\b.*$", _roff(file), flags=re.MULTILINE):
            if len(paragraph.split()) >= 12:
                yield Text(paragraph, file.name.partition(".")[0])


def _roff(file: Path) -> str:
    """A manual page's text with its paragraph macros; fonts, comments and other macros removed."""
    text = gzip.decompress(file.read_bytes()).decode("utf-8", errors="replace")
    text = re.sub(r'^\.\\".*$', "", text, flags=re.MULTILINE)
    text = re.sub(r"\\f(?:\[\w*\]|\(\w\w|\w)|\\[&/,|]|\\s[-+]?\d", "", text)
    text = re.sub(r"^\.(?:B|I|BR|IR|RB|RI|BI|IB|SM|SB) ", "", text, flags=re.MULTILINE)
    text = text.replace("\\-", "-").replace("\\(bu", "").replace("\\e", "\\").replace("\\[aq]", "'")
    return re.sub(r"^\.(?!PP|P\b|LP|TP|IP|SH|SS|sp).*$", "", text, flags=re.MULTILINE)


def _docstrings() -> Iterator[Text]:
    for document in sample.documents():
        yield Text(document["text"], document["module"].partition(".")[0])


_CORPORA: Mapping[str, Callable[[], Iterator[Text]]] = {
    "docstrings": _docstrings,
    "fortunes": _fortunes,
    "debian-short": lambda: _debian("en", long=False),
    "debian-long": lambda: _debian("en", long=True),
    "kernel": _kernel_documentation,
    "german": _german_manual_pages,
    "japanese": lambda: _debian("ja", long=True),
    "chinese": lambda: _debian("zh_CN", long=True),
}
