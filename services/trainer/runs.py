"""What a run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.trainer.recipes import Recipe
from services.trainer.sae.config import Config
from services.trainer.sae.sizing import Sizing
from services.trainer.sae.stability import NAME as STABILITY
from services.trainer.training.protocol import Quality

MIN_ROWS = 100
"""Below this, a tenth of the rows tests nothing, and few latents are active in enough of them to stand for a topic."""
MIN_ROWS_PER_LATENT = 5
"""Below this, most latents are dead or describe single rows."""
MAX_FVU_RATIO = 1.5
"""Held-out FVU over training FVU from which a run says that it memorises."""
MIN_REPRODUCED_SHARE = 0.3
"""Share of live latents that siblings found again, below which a run says so."""
_SMALLER = "Use fewer latents, a smaller k, or more documents."
_STABILITY_DAMAGED = (
    "The file with its features' stability is damaged. Everything else works, and statistics keep the stability that "
    "they have; without any, no feature is trusted. Then restore the file from a backup (`prisma restore`) or train "
    "another run, and compute the statistics again."
)
_MORE_DOCUMENTS = "The size was chosen for these documents; more of them allow features that are found again."


@dataclass(frozen=True)
class Source:
    """The dataset that a run belongs to."""

    dataset: str
    """`datasets/{dataset}`."""
    dataset_uid: str
    embedding_model: str
    dimension: int


@dataclass(frozen=True)
class Selection:
    """The rows of a dataset that a run is trained on, fixed when its training starts."""

    ranges: Sequence[tuple[int, int]]
    """Half-open ranges of row numbers."""
    row_count: int
    revision: int
    """The dataset's, at that moment."""
    history: str | None = None
    """That of the revision; None for runs of older versions."""
    pending_count: int = 0
    """Documents without a vector at that moment."""
    fingerprint: str | None = None
    """The dataset's at that moment; None for runs of older versions."""


@dataclass(frozen=True)
class DatasetChanges:
    """How a dataset has changed since a run was trained on it, in documents."""

    fingerprint: str
    """The dataset's when it was last looked at."""
    added: int = 0
    deleted: int = 0
    changed: int = 0
    revision: int | None = None
    """The dataset's when it was last looked at, in its `history`; None for what former versions noted."""
    history: str | None = None


@dataclass(frozen=True)
class Coverage:
    """A state of a dataset that codes reflect."""

    revision: int
    history: str


@dataclass(frozen=True)
class Dataset:
    """A dataset as the embedder describes it."""

    source: Source
    revision: int
    history: str
    embedded_count: int
    pending_count: int
    failed_count: int
    fingerprint: str


@dataclass(frozen=True)
class Import:
    """Weights that come from elsewhere."""

    origin: str
    """The layout of their file, `prisma`, `sae-lens`, `sparsify`, `hypothesaes` or `prismadb`; or `runs/{run}`."""
    latent_count: int


@dataclass(frozen=True)
class NewRun:
    """A run to create."""

    source: Source
    recipe: Recipe
    run_id: str | None = None
    """None to choose one."""
    display_name: str | None = None
    """None to choose one."""
    description: str = ""
    tags: Sequence[str] = ()
    selection: Selection | None = None
    """Rows that are fixed already, as those of a clone; None to fix them when the training starts."""
    imported: Import | None = None
    uid: str | None = None
    """None for a new one; set where files were written for it already."""

    @property
    def title(self) -> str:
        """What ids and names are made of: the recipe's title, or the origin of imported weights."""
        return self.recipe.title if self.imported is None else self.imported.origin.removeprefix("runs/")


@dataclass(frozen=True)
class RunRequest:
    """A run that a caller asks for."""

    dataset: str
    """`datasets/{dataset}`."""
    recipe: Recipe = field(default_factory=Recipe)
    run_id: str | None = None
    display_name: str | None = None
    description: str = ""
    tags: Sequence[str] = ()
    allow_pending: bool = False
    """Whether documents of the dataset may still wait to be embedded."""


@dataclass(frozen=True)
class EncodingRequest:
    """An encoding of a dataset that a caller asks for."""

    run_id: str
    """Of the run that encodes."""
    dataset: str | None
    """`datasets/{dataset}`; None for the run's own."""
    new_run_id: str | None = None
    display_name: str | None = None


@dataclass(frozen=True)
class CloneRequest:
    """A clone that a caller asks for."""

    original: str
    """The id of the run to clone."""
    changes: Recipe
    run_id: str | None = None
    display_name: str | None = None


def weights_path(attempt: str) -> str:
    """Path of the weights that a training or an import left in its folder."""
    return f"{attempt}/weights.safetensors"


def stability_path(attempt: str) -> str:
    """Path of what siblings say about the latents."""
    return f"{attempt}/{STABILITY}"


@dataclass(frozen=True)
class Run:
    """A sparse autoencoder on a dataset."""

    uid: str
    id: str
    display_name: str
    description: str
    source: Source
    selection: Selection | None
    """None until the training starts."""
    recipe: Recipe
    config: Config | None
    """The complete configuration; None until the training starts, and until a size is chosen."""
    attempt: str | None
    """Folder of the committed weights; None before."""
    revision: int
    history: str
    code_count: int
    dead_count: int | None
    """Latents that no row activates; None before there are codes."""
    embedded_count: int | None
    """Embedded documents of the dataset when it was last looked at; None before."""
    coded_revision: int | None
    """The dataset's revision that the codes reflect; None before there are codes."""
    coded_history: str | None
    metrics: Mapping[str, Any] | None
    job: str | None
    """The newest training job."""
    fingerprint: str | None
    device: str | None
    create_time: datetime
    update_time: datetime
    train_time: datetime | None
    delete_time: datetime | None
    tags: Sequence[str]
    evaluation: Mapping[str, Any] | None
    sizing: Sizing | None
    """None unless the size was chosen for the data."""
    quality: Quality | None
    """None before the training, and for imported weights."""
    imported_from: str | None
    """Layout or run that the weights are from; None for a run that is trained here."""
    latent_count: int | None
    """None until it is chosen."""
    dataset_changes: DatasetChanges | None = None
    """None before the training, and until the dataset was looked at."""
    stability_damaged: bool = False
    """Whether the file with the latents' stability was found to be damaged or missing."""

    @property
    def name(self) -> str:
        """`runs/{run}`."""
        return f"runs/{self.id}"

    @property
    def folder(self) -> str:
        """Path of its blobs."""
        return f"runs/{self.uid}"

    @property
    def imported_weights(self) -> str:
        """Path of the weights that it was imported from, in this suite's layout."""
        return f"{self.folder}/imported.safetensors"

    @property
    def weights(self) -> str:
        """Path of its weights. Only of a trained run."""
        assert self.attempt is not None
        return weights_path(self.attempt)

    @property
    def stability(self) -> str | None:
        """Path of what siblings say about its latents; None where it has none."""
        if self.attempt is None or self.quality is None or not self.quality.sibling_count:
            return None
        return stability_path(self.attempt)

    @property
    def trained(self) -> bool:
        """Whether it has weights and codes."""
        return self.attempt is not None

    @property
    def uncoded_count(self) -> int:
        """Embedded documents that have no code; 0 for an untrained run."""
        if not self.trained or self.embedded_count is None:
            return 0
        return max(0, self.embedded_count - self.code_count)

    @property
    def warnings(self) -> list[str]:
        """What to consider when judging the run."""
        warnings: list[str] = []
        if self.selection is None:
            return warnings
        rows = self.selection.row_count
        if self.selection.pending_count:
            warnings.append(
                f"Trained on {rows:,} of {rows + self.selection.pending_count:,} rows: "
                "the others were not embedded yet."
            )
        if rows < MIN_ROWS:
            warnings.append(
                f"Too little data: {rows:,} {'document' if rows == 1 else 'documents'}. Features of fewer than "
                f"{MIN_ROWS} describe single documents, and too few are held out to test them."
            )
        elif self.latent_count is not None and rows < MIN_ROWS_PER_LATENT * self.latent_count:
            warnings.append(
                f"Too little data: {rows:,} rows for {self.latent_count:,} latents. Many latents will be dead or "
                f"describe single rows; use at least {MIN_ROWS_PER_LATENT} rows per latent, or fewer latents."
            )
        if self.quality is not None:
            requested = self.sizing is None or {"expansion", "latent_count"} & self.recipe.settings.keys()
            warnings += quality_warnings(self.quality, advice=_SMALLER if requested else _MORE_DOCUMENTS)
        if self.stability_damaged:
            warnings.append(_STABILITY_DAMAGED)
        if self.uncoded_count:
            warnings.append(f"{self.uncoded_count:,} embedded rows have no codes yet.")
        return warnings


def quality_warnings(quality: Quality, *, advice: str) -> list[str]:
    """What a training's quality gives reason to doubt, in sentences that end with advice."""
    warnings: list[str] = []
    if not quality.live_count:
        warnings.append("No feature is active in any document: their vectors do not differ, or hardly.")
    train_fvu, held_out_fvu = quality.train_fvu, quality.held_out_fvu
    if train_fvu and held_out_fvu and held_out_fvu > MAX_FVU_RATIO * train_fvu:
        warnings.append(
            f"The features memorise: FVU is {held_out_fvu:.3f} on held-out rows and {train_fvu:.3f} on training rows "
            f"({held_out_fvu / train_fvu:.1f} times as much). {advice}"
        )
    if quality.sibling_count and quality.reproduced_count < MIN_REPRODUCED_SHARE * quality.live_count:
        warnings.append(
            f"Only {quality.reproduced_count:,} of {quality.live_count:,} features were found again by trainings with "
            f"other random numbers on half of the rows. {advice}"
        )
    return warnings
