"""What other steps read: the items of findings, complete enough for `darkroom fix` to act on, and the pairs that a split heeds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.data import manifest as manifests
from components.shared.page.render import plain
from components.validate.context import Context
from components.validate.finding import Finding

KEPT = 1000  # items of one finding in findings.json; `count` says how many there are, findings.parquet has them all
_SAMPLE = ["id", "shard", "source", "split", "label", "group"]  # columns of the manifest that an item repeats
_ITEM = ["text", *_SAMPLE, "row", "picture", "reason", "other", "action", "suggested"]
_ABOUT = ["code", "severity", "message", "why", "fix"]  # of a finding, which findings.parquet repeats for each
_SCHEMA = pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in (*_ABOUT, *_ITEM)])
_PAIRS = pa.schema([("one", pa.int64()), ("other", pa.int64()), ("kind", pa.string())])


def record(finding: Finding, context: Context) -> dict:
    """The entry of a finding in findings.json; a value that does not apply is None."""
    items = first(finding, context, KEPT)
    about = {name: getattr(finding, name) for name in _ABOUT} | {"action": finding.check.action, "count": len(finding.rows)}
    return {**about, "items": items.astype(object).where(items.notna(), None).to_dict("records")}


def write_table(findings: list[Finding], context: Context, file: Path) -> None:
    """Write every item of every finding, a row each, with the columns of findings.json: what `darkroom fix` reads."""
    with files.whole_file(file) as temporary, pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as writer:
        for finding in findings:
            for start in range(0, len(finding.rows), 1 << 16):
                table = first(finding, context, 1 << 16, start).assign(**{name: getattr(finding, name) for name in _ABOUT})
                writer.write_table(pa.Table.from_pandas(table[_SCHEMA.names], schema=_SCHEMA, preserve_index=False))


def write_pairs(context: Context, file: Path) -> None:
    """Write every pair, ordered: `one` < `other` (row numbers in the order of `manifest.read`) and its `kind`.

    `near`: near twins among stills; a picture that comes several times is named by its first row. `frames`: clips that share
    at least validate.min_shared_frames of their frames. They do not depend on severities: a split needs them in any case.
    """
    frames = context.shared_frames[["one", "other"]].to_numpy(np.int64)
    both = np.concatenate([context.near.astype(np.int64), frames])
    kind = np.repeat(["near", "frames"], [len(context.near), len(frames)])
    order = np.lexsort([both[:, 1], both[:, 0]])
    with files.whole_file(file) as temporary:
        columns = [both[order, 0], both[order, 1], pa.array(kind[order], pa.string())]
        schema = _PAIRS.with_metadata({"data_digest": manifests.data_digest(context.manifest)})
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")


def first(finding: Finding, context: Context, most: int, start: int = 0) -> pd.DataFrame:
    """At most so many items of a finding, from this one on."""
    rows = finding.rows.iloc[start : start + most]
    table = context.some(rows.index, *_SAMPLE, "pixels_digest")
    other = rows["other"].to_numpy()
    sources = context.some(np.maximum(other, 0), "source")["source"].to_numpy(object)
    reason = rows["reason"].fillna("").astype("str")
    between = pd.Series(np.where(reason == "", "", np.where(reason.str[:1].isin(["=", "~"]), " ", ": ")), reason.index)
    text = table["source"].astype("str") + between.astype("str") + reason
    return table.assign(
        text=text.map(plain),  # so that a hostile name cannot write over the terminal
        row=context.row_in_shard(rows.index.to_numpy()),
        picture=table["pixels_digest"].fillna(table["id"]),
        reason=reason,
        other=pd.Series(np.where(other >= 0, sources, None), rows.index, dtype="str"),
        action=rows["action"].fillna(finding.check.action),
        suggested=rows["suggested"],
    )[_ITEM]
