"""The input of the checks: the manifest, the limits, and derived columns that several checks need, computed once."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.data import dataset, twins
from components.shared.data import manifest as manifests
from components.validate import suspects
from components.validate.config import ValidateConfig

_FEW = ["group", "mode", "notes", "fault_code", "frame_gap", "frame_twin"]  # texts that many samples have in common
_HELD = [*_FEW, "label", "split", "frames", "width", "height", "frame_sizes", "brightness", "red", "green", "blue", "contrast",
         "dark_level", "bright_level", "common", "entropy", "sharpness", "hash", "faces", "trailing"]  # fmt: skip


@dataclass(frozen=True)
class Context:
    """`rows`: what checks need of every sample, numbered from 0, with `key`, uint64, equal for equal pictures; see `some`.

    `accepted`: `drift.figures` of the last accepted data, if any.
    """

    rows: pd.DataFrame
    limits: ValidateConfig
    manifest: Path
    accepted: dict | None = None

    @classmethod
    def read(cls, manifest: Path, limits: ValidateConfig, accepted: dict | None = None) -> "Context":
        """Read a manifest part by part. Of the texts that each sample has for itself, nothing is held but a number."""

        def tables() -> Iterator[pa.Table]:
            for _, table in manifests.parts(manifest, [*_HELD, "pixels_digest", "id"]):
                # A digest of what a row shows: of its pixels, or of its bytes when it does not decode.
                pixels = pc.coalesce(table["pixels_digest"], table["id"]).to_numpy()
                key = pa.array(pd.util.hash_array(pixels, categorize=False))
                yield table.drop_columns(["pixels_digest", "id"]).append_column("key", key)

        return cls(manifests.frame(tables(), _FEW), limits, manifest, accepted)

    @functools.cached_property
    def _starts(self) -> list[tuple[int, Path]]:
        return manifests.starts(self.manifest)

    def some(self, rows: Sequence[int], *columns: str) -> pd.DataFrame:
        """More columns of some rows, read anew; see `manifest.some`."""
        return manifests.some(self._starts, rows, list(columns))

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
        return pd.Series(pd.factorize(self.rows["key"])[0].astype(np.int32), index=self.rows.index)

    def row_in_shard(self, rows: np.ndarray) -> np.ndarray:
        """The number of each of these rows within its shard, int (m,)."""
        first = np.array([start for start, _ in self._starts])
        return rows - first[np.searchsorted(first, rows, side="right") - 1]

    @functools.cached_property
    def splits(self) -> pd.Series:
        """The official split of each row, empty where the source has none."""
        return self.rows["split"].fillna("")

    @functools.cached_property
    def split_number(self) -> np.ndarray:
        """A number for each official split, as for none: int (n,). Numbers take a tenth of the room of texts."""
        return pd.factorize(self.splits)[0].astype(np.int32)

    @functools.cached_property
    def label_number(self) -> np.ndarray:
        """A number for each label, -1 for none: int (n,)."""
        return pd.factorize(self.labels)[0].astype(np.int32)

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
        twice = self.picture.duplicated(keep=False) & values.notna()
        known = pd.DataFrame({"row": self.rows.index[twice], "picture": self.picture[twice], "value": values[twice]})
        known = known[known["value"].groupby(known["picture"]).transform("nunique") > 1]
        first = known.drop_duplicates(["picture", "value"])
        both = known.merge(first, on="picture", suffixes=("", "_twin"))
        return both.loc[both["value"] != both["value_twin"], ["row", "row_twin"]].to_numpy(int)

    def names(self, rows: np.ndarray) -> np.ndarray:
        """The path of each of these samples, with its split where the path does not say it: str (m,)."""
        splits = self.splits.iloc[rows]
        sources = self.some(rows, "source")["source"].set_axis(splits.index)
        names = sources.astype("str").copy()
        for split in splits.unique():
            bare = (splits == split) & (split != "") & ~sources.str.startswith(f"{split}/")
            names[bare] = f"{split}: " + names[bare]
        return names.to_numpy(object)

    def notes(self, code: str) -> pd.Series:
        """Whether the decoder noted this."""
        notes = self.rows["notes"].cat
        noted = np.array([*(code in each.split() for each in notes.categories), False])  # the last where there is none
        return pd.Series(noted[notes.codes], self.rows.index)

    @functools.cached_property
    def near(self) -> np.ndarray:
        """(m, 2) rows that are near twins of each other: stills that show something, each picture once."""
        textured = self.decoded & ~self.is_clip & (self.rows["contrast"] >= self.limits.min_contrast)
        once = np.flatnonzero(textured & ~self.picture.duplicated())
        hashes = self.rows["hash"].iloc[once].to_numpy(np.uint64)
        return twins.near(self.manifest, once, hashes, bits=self.limits.near_bits, correlation=self.limits.near_correlation)

    @functools.cached_property
    def frame_digests(self) -> pd.Series:
        """The digests of the frames of every clip."""
        return self.some(np.flatnonzero(self.is_clip), "frame_digests")["frame_digests"]

    @functools.cached_property
    def shared_frames(self) -> pd.DataFrame:
        """Rows `one` < `other` of clips that share enough frames, and the share of the shorter one's frames."""
        clips = self.frame_digests[self.decoded[self.is_clip]]
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
        labels = np.where(learnt, pd.factorize(self.labels, sort=True)[0].astype(np.int32), np.int32(-1))
        # A group, or a picture that comes twice, is in one fold: no model has seen what it judges.
        groups = self.rows["group"].cat
        of_group = np.append(pd.util.hash_array(groups.categories.to_numpy(object), categorize=False), np.uint64(0))
        key = np.where(groups.codes >= 0, of_group[groups.codes], self.rows["key"])
        folds = (key % suspects.FOLDS).astype(np.int8)
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
