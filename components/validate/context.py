"""The input of the checks: the manifest, the limits, and derived columns that several checks need, computed once."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from components.shared.data import dataset, twins
from components.shared.data import manifest as manifests
from components.validate import suspects
from components.validate.config import ValidateConfig


@dataclass(frozen=True)
class Context:
    """`rows`: the manifest, a row per sample, numbered from 0. `accepted`: `drift.figures` of the last accepted data, if any."""

    rows: pd.DataFrame
    limits: ValidateConfig
    manifest: Path
    accepted: dict | None = None

    @functools.cached_property
    def labels(self) -> pd.Series:
        """See `manifest.labels`."""
        return manifests.labels(self.rows)

    @functools.cached_property
    def decoded(self) -> pd.Series:
        """Whether a row has pixels."""
        return self.rows["fault_code"].isna()

    @functools.cached_property
    def picture(self) -> pd.Series:
        """A number for each picture that is another one: by its pixels, or by its bytes when it does not decode."""
        return pd.Series(pd.factorize(self.pixels)[0], index=self.rows.index)

    @functools.cached_property
    def pixels(self) -> pd.Series:
        """A digest of what each row shows: of its pixels, or of its bytes when it does not decode."""
        return self.rows["pixels_digest"].fillna(self.rows["id"])

    @functools.cached_property
    def row_in_shard(self) -> np.ndarray:
        """The number of each row within its shard, int (n,)."""
        return self.rows.groupby("shard", sort=False).cumcount().to_numpy()

    @functools.cached_property
    def splits(self) -> pd.Series:
        """The official split of each row, empty where the source has none."""
        return self.rows["split"].fillna("")

    @functools.cached_property
    def split_number(self) -> np.ndarray:
        """A number for each official split, as for none: int (n,). Numbers take a tenth of the room of texts."""
        return pd.factorize(self.splits)[0]

    @functools.cached_property
    def label_number(self) -> np.ndarray:
        """A number for each label, -1 for none: int (n,)."""
        return pd.factorize(self.labels)[0]

    @functools.cached_property
    def official(self) -> list[str]:
        """The official splits that the data has, in their usual order."""
        present = set(self.splits.unique())
        return [split for split in dataset.SPLITS if split in present]

    @functools.cached_property
    def training(self) -> pd.Series:
        """The labels of what is trained on: all that is not held back by an official split."""
        return self.labels[self.splits.isin(["", "train"])].dropna()

    @functools.cached_property
    def is_clip(self) -> pd.Series:
        """Whether a row has several frames."""
        return self.rows["frames"] > 1

    @functools.cached_property
    def blank(self) -> pd.Series:
        """Whether a picture is of nearly one colour."""
        return (self.rows["contrast"] < self.limits.min_contrast) | (self.rows["common"] >= self.limits.max_common)

    def clashes(self, values: pd.Series) -> np.ndarray:
        """(m, 2): each row whose picture comes with another of these values too, and the first row where it does."""
        known = pd.DataFrame({"row": self.rows.index, "picture": self.picture, "value": values})[values.notna()]
        known = known[known["value"].groupby(known["picture"]).transform("nunique") > 1]
        first = known.drop_duplicates(["picture", "value"])
        both = known.merge(first, on="picture", suffixes=("", "_twin"))
        return both.loc[both["value"] != both["value_twin"], ["row", "row_twin"]].to_numpy(int)

    def names(self, rows: np.ndarray) -> np.ndarray:
        """The path of each of these samples, with its split where the path does not say it: str (m,)."""
        sources, splits = self.rows["source"].iloc[rows], self.splits.iloc[rows]
        names = sources.astype("str").copy()
        for split in splits.unique():
            bare = (splits == split) & (split != "") & ~sources.str.startswith(f"{split}/")
            names[bare] = f"{split}: " + names[bare]
        return names.to_numpy(object)

    def notes(self, code: str) -> pd.Series:
        """Whether the decoder noted this."""
        return self._noted.map({notes: code in notes.split() for notes in self._noted.unique()}).astype(bool)

    @functools.cached_property
    def _noted(self) -> pd.Series:
        return self.rows["notes"].fillna("").astype(str)

    @functools.cached_property
    def near(self) -> np.ndarray:
        """(m, 2) rows that are near twins of each other: stills that show something, each picture once."""
        textured = self.decoded & ~self.is_clip & (self.rows["contrast"] >= self.limits.min_contrast)
        once = np.flatnonzero(textured & ~self.picture.duplicated())
        hashes = self.rows["hash"].iloc[once].to_numpy(np.uint64)
        return twins.near(self.manifest, once, hashes, bits=self.limits.near_bits, correlation=self.limits.near_correlation)

    @functools.cached_property
    def shared_frames(self) -> pd.DataFrame:
        """Rows `one` < `other` of clips that share enough frames, and the share of the shorter one's frames."""
        clips = self.rows.loc[self.is_clip & self.decoded, "frame_digests"]
        return twins.shared_frames(clips, share=self.limits.min_shared_frames)

    @functools.cached_property
    def classes(self) -> list[str]:
        """The labels in use, in order."""
        return sorted(self.labels.dropna().unique())

    @functools.cached_property
    def opinion(self) -> suspects.Opinion | None:
        """The judgement of a simple model on the labels; None if a class is too small to learn, or if the data has one class."""
        learnt = self.decoded & self.labels.notna()
        counts = self.labels[learnt].value_counts()
        if len(counts) < 2 or counts.min() < 2 * suspects.FOLDS:
            return None
        labels = self.labels.map({label: index for index, label in enumerate(self.classes)})
        labels = labels.where(learnt).fillna(-1).astype(int).to_numpy()
        # A group, or a picture that comes twice, is in one fold: no model has seen what it judges.
        key = self.rows["group"].fillna(self.pixels)
        folds = np.concatenate([
            (pd.util.hash_array(key.iloc[start : start + (1 << 16)].to_numpy(object)) % suspects.FOLDS).astype(np.int8)
            for start in range(0, len(key), 1 << 16)
        ])  # fmt: skip
        return suspects.opinion(self._features, labels, folds, len(self.classes))

    def _features(self) -> Iterator[np.ndarray]:
        """Gradients, colours, and the thumbnail at half its size: uint8, a part of the manifest at a time."""
        parts = (manifests.read_bytes(self.manifest, column) for column in ("features", "thumbnail"))
        for features, thumbnails in zip(*parts, strict=True):
            four = thumbnails.reshape(-1, 8, 2, 8, 2).astype(np.uint16)
            small = ((four[:, :, 0, :, 0] + four[:, :, 0, :, 1] + four[:, :, 1, :, 0] + four[:, :, 1, :, 1]) // 4).astype(
                np.uint8
            )
            small = small.reshape(len(features), -1)
            yield np.concatenate([features, small], axis=1)
