"""The input of the checks: the manifest, the limits, and derived columns that several checks need, computed once."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.shared.data import manifest as manifests
from components.shared.data import twins
from components.shared.data.embeddings import Embeddings
from components.validate import crops, features, outliers, suspects
from components.validate.accepted import Accepted
from components.validate.config import ValidateConfig

_SAMPLED = 20_000  # pictures


@dataclass(frozen=True)
class Context:
    """`rows`: what is held of every sample, numbered from 0, in a dozen bytes: `label`, `split` and `fault_code` as categories,
    and `key`, uint64, equal for equal pictures. All else is read when a check asks for it; see `column` and `some`.

    `accepted`: the last accepted data, if any; `embeddings`: what a pretrained network saw, if one was asked.
    """

    rows: pd.DataFrame
    limits: ValidateConfig
    manifest: Path
    accepted: Accepted | None = None
    embeddings: Embeddings | None = None

    @classmethod
    def read(
        cls, manifest: Path, limits: ValidateConfig, accepted: Accepted | None = None, embeddings: Embeddings | None = None
    ) -> "Context":
        """Read a manifest part by part."""
        held = ["label", "split", "fault_code"]

        def tables() -> Iterator[pa.Table]:
            for _, table in manifests.parts(manifest, [*held, "pixels_digest", "id"]):
                # A digest of what a row shows: of its pixels, or of its bytes when it does not decode.
                pixels = pc.coalesce(table["pixels_digest"], table["id"]).to_numpy()
                key = pa.array(pd.util.hash_array(pixels, categorize=False))
                yield table.select(held).append_column("key", key)

        return cls(manifests.frame(tables(), held), limits, manifest, accepted, embeddings)

    def column(self, name: str) -> pd.Series:
        """See `manifest.column`; read anew each time."""
        return manifests.column(self.manifest, name)

    @functools.cached_property
    def _starts(self) -> list[tuple[int, Path]]:
        return manifests.starts(self.manifest)

    def some(self, rows: Sequence[int], *columns: str) -> pd.DataFrame:
        """More columns of some rows, read anew; see `manifest.some`."""
        return manifests.some(self._starts, rows, list(columns))

    @functools.cached_property
    def labels(self) -> pd.Series:
        """See `manifest.labels`; categories, in order, of those alone that are in use."""
        return manifests.labels(self.rows).cat.remove_unused_categories()

    @functools.cached_property
    def label_counts(self) -> pd.Series:
        """Samples of each label, the most frequent first; see `counted`."""
        return counted(self.labels)

    @functools.cached_property
    def per_split(self) -> pd.DataFrame:
        """Samples per label (rows, in order; the last is `(none)`) and split (columns, in order)."""
        splits = [split or "to be split" for split in self.splits.cat.categories]
        cells = (self.label_number.astype(np.int32) % (len(self.classes) + 1)) * len(splits) + self.split_number
        counts = np.bincount(cells, minlength=(len(self.classes) + 1) * len(splits)).reshape(-1, len(splits))
        table = pd.DataFrame(counts, [*self.classes, "(none)"], splits)
        return table.loc[:, counts.any(axis=0)].sort_index(axis=1)

    @functools.cached_property
    def decoded(self) -> pd.Series:
        """Whether a row has pixels."""
        return self.rows["fault_code"].isna()

    @functools.cached_property
    def picture(self) -> np.ndarray:
        """The first row that shows the same: int32 (n,); by its pixels, or by its bytes when it does not decode."""
        return manifests.firsts(self.rows["key"].to_numpy())

    @functools.cached_property
    def repeated(self) -> np.ndarray:
        """Whether another row shows the same: bool (n,)."""
        return np.bincount(self.picture)[self.picture] > 1

    def row_in_shard(self, rows: np.ndarray) -> np.ndarray:
        """The number of each of these rows within its shard, int (m,)."""
        first = np.array([start for start, _ in self._starts])
        return rows - first[np.searchsorted(first, rows, side="right") - 1]

    @functools.cached_property
    def splits(self) -> pd.Series:
        """The official split of each row, empty where the source has none; categories."""
        splits = self.rows["split"].cat
        return (splits.add_categories([""]) if "" not in splits.categories else self.rows["split"]).fillna("")

    @property
    def split_number(self) -> np.ndarray:
        """A number for each official split, as for none: int (n,)."""
        return self.splits.cat.codes.to_numpy()

    @property
    def label_number(self) -> np.ndarray:
        """A number for each label, in order, -1 for none: int (n,)."""
        return self.labels.cat.codes.to_numpy()

    @functools.cached_property
    def training(self) -> pd.Series:
        """The label of each row that is trained on, null for what an official split holds back."""
        return self.labels.where(self.splits.isin(["", "train"]))

    @functools.cached_property
    def is_clip(self) -> pd.Series:
        """Whether a row has several frames."""
        return self.column("frames") > 1

    @functools.cached_property
    def blank(self) -> pd.Series:
        """Whether a picture is of nearly one colour: without contrast, or with one level nearly everywhere, unlike the set."""
        common = self.column("common")
        one_level = outliers.unlike_most(common, common >= self.limits.max_common, low=False)
        return one_level | (self.column("contrast") < self.limits.min_contrast)

    def clashes(self, values: pd.Series) -> np.ndarray:
        """(m, 2): each row whose picture comes with another of these values too, and the first row where it does."""
        twice = np.flatnonzero(self.repeated & values.notna().to_numpy())
        known = pd.DataFrame({"row": twice, "picture": self.picture[twice], "value": values.cat.codes.to_numpy()[twice]})
        known = known[known["value"].groupby(known["picture"]).transform("nunique") > 1]
        first = known.drop_duplicates(["picture", "value"])
        both = known.merge(first, on="picture", suffixes=("", "_twin"))
        return both.loc[both["value"] != both["value_twin"], ["row", "row_twin"]].to_numpy(int)

    def names(self, rows: np.ndarray) -> np.ndarray:
        """The path of each of these samples, with its split where the path does not say it: str (m,)."""
        splits = self.splits.iloc[rows].to_numpy(object)
        sources = self.some(rows, "source")["source"].to_numpy(object)
        return np.array(
            [
                f"{split}: {source}" if split and not source.startswith(f"{split}/") else source
                for split, source in zip(splits, sources, strict=True)
            ],
            object,
        )

    @functools.cached_property
    def notes(self) -> pd.Series:
        """The codes that the decoder noted, space between, null for none; categories."""
        return self.column("notes")

    @property
    def seen_by(self) -> str:
        """What models and twins go by, for people; empty for gradients and colours alone."""
        return f"pretrained features ({self.embeddings.network})" if self.embeddings else ""

    @functools.cached_property
    def near(self) -> np.ndarray:
        """(m, 2) rows that are near twins of each other: stills that show something, each picture once."""
        textured = self.decoded & ~self.is_clip & (self.column("contrast") >= self.limits.min_contrast)
        first = self.picture == np.arange(len(self.picture), dtype=np.int32)
        once = np.flatnonzero(first & textured.to_numpy())
        near = twins.near(self.manifest, once, bits=self.limits.near_bits, correlation=self.limits.near_correlation)
        if self.embeddings is None:
            return near
        cropped = crops.near(self.embeddings, lambda rows: self.some(rows, "preview")["preview"], once, self.label_number)
        return np.unique(np.concatenate([near, cropped]), axis=0)

    @functools.cached_property
    def frame_digests(self) -> pd.Series:
        """The digests of the frames of every clip."""
        return self.some(np.flatnonzero(self.is_clip), "frame_digests")["frame_digests"]

    @functools.cached_property
    def shared_frames(self) -> pd.DataFrame:
        """Rows `one` < `other` of clips that share enough frames, and the share of the shorter one's frames."""
        clips = self.frame_digests[self.decoded[self.is_clip]]
        return twins.shared_frames(clips, share=self.limits.min_shared_frames, sides=self.split_number[clips.index])

    @functools.cached_property
    def classes(self) -> list[str]:
        """The labels in use, in order."""
        return list(self.labels.cat.categories)

    @functools.cached_property
    def opinion(self) -> suspects.Opinion | None:
        """The judgement of a simple model on the labels; None if a class is too small to learn, or if the data has one class."""
        learnt = (self.decoded & self.labels.notna()).to_numpy()
        counts = np.bincount(self.label_number[learnt])
        counts = counts[counts > 0]
        if len(counts) < 2 or counts.min() < 2 * suspects.FOLDS:
            return None
        labels = np.where(learnt, self.label_number, np.int8(-1))
        folds = (self.unit % suspects.FOLDS).astype(np.int8)
        # Of a group, or of a picture that comes twice, a class has one independent sample.
        several = learnt & (self.repeated | (self.unit != self.rows["key"]))
        once = pd.DataFrame({"label": labels[several], "unit": self.unit[several]}).drop_duplicates()["label"]
        units = sum(np.bincount(each, minlength=len(self.classes)) for each in (labels[learnt & ~several], once))
        return suspects.opinion(lambda: features.read(self.embeddings, self.manifest), labels, folds, len(self.classes), units)

    @functools.cached_property
    def sample(self) -> pa.Table:
        """What the next version's pictures are compared with: `label`, `unit` and `features` of at most 20,000; see drift.py.

        Those are taken whose digests come first: a draw by content, which takes the same pictures of every version.
        """
        rows = np.flatnonzero((self.decoded & self.labels.notna()).to_numpy())
        if len(rows) > _SAMPLED:
            rows = np.sort(rows[np.argpartition(self.rows["key"].to_numpy()[rows], _SAMPLED)[:_SAMPLED]])
        if self.embeddings:
            seen = self.embeddings.levels[rows]
        else:
            columns = self.some(rows, *features.COLUMNS)
            seen = features.of(
                *(np.frombuffer(b"".join(columns[name]), np.uint8).reshape(-1, size) for name, size in features.COLUMNS.items())
            )
        arrays = {
            "label": pa.array(self.labels.iloc[rows].astype("str"), pa.string()),
            "unit": pa.array(self.unit[rows]),
            "features": pa.array([row.tobytes() for row in seen], pa.binary(seen.shape[1])),
        }
        about = {
            "data_digest": manifests.data_digest(self.manifest),
            "measured_by": features.made_by(self.embeddings, self.manifest),
        }
        return pa.table(arrays).replace_schema_metadata(about)

    @functools.cached_property
    def unit(self) -> np.ndarray:
        """What a fold keeps whole, uint64 (n,): a group, else a picture, however often it comes. No model sees what it judges."""
        groups = self.column("group").cat
        of_group = np.append(pd.util.hash_array(groups.categories.to_numpy(object), categorize=False), np.uint64(0))
        return np.where(groups.codes >= 0, of_group[groups.codes], self.rows["key"])


def counted(texts: pd.Series) -> pd.Series:
    """How often each of these categories comes, the most frequent first; of equals the one that comes first."""
    numbers = texts.cat.codes
    counts = numbers[numbers >= 0].value_counts()
    return counts.set_axis(texts.cat.categories[counts.index])
