"""A finding, and its items: a line and a record per faulty sample, complete enough for `darkroom fix` to act on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.page.render import plain
from components.validate.context import Context

KEPT = 1000  # items of one finding in findings.json; `count` says how many there are, findings.parquet has them all
_SAMPLE = ["id", "shard", "source", "split", "label", "group"]  # columns of the manifest that an item repeats
_ITEM = ["text", *_SAMPLE, "row", "picture", "reason", "other", "action", "suggested"]
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("code", "severity", "message", "fix")]
    + [(name, pa.int64() if name == "row" else pa.string()) for name in _ITEM]
)


@dataclass(frozen=True)
class Finding:
    """One result of validation. `rows`: see `finding.rows`; empty when the data set as a whole is at fault.

    `check`: code of the check; `doc`: its description. `action`: what `darkroom fix` does, empty where a person has to.
    """

    code: str
    severity: str
    message: str
    fix: str
    action: str
    rows: pd.DataFrame
    check: str
    doc: str

    def items(self, context: Context, most: int = KEPT) -> list[dict]:
        """The first items as records; a value that does not apply is None."""
        table = _table(self, context, self.rows.head(most))
        return table.astype(object).where(table.notna(), None).to_dict("records")

    def record(self, context: Context) -> dict:
        """Its entry in findings.json."""
        return {
            "code": self.code, "severity": self.severity, "message": self.message, "fix": self.fix, "action": self.action,
            "count": len(self.rows), "items": self.items(context),
        }  # fmt: skip


def write_table(findings: list[Finding], context: Context, file: Path) -> None:
    """Write every item of every finding, a row each, with the columns of findings.json: what `darkroom fix` reads."""
    with files.whole_file(file) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for finding in findings:
            for start in range(0, len(finding.rows), 1 << 16):
                table = _table(finding, context, finding.rows.iloc[start : start + (1 << 16)]).assign(
                    code=finding.code, severity=finding.severity, message=finding.message, fix=finding.fix
                )
                writer.write_table(pa.Table.from_pandas(table[SCHEMA.names], schema=SCHEMA, preserve_index=False))


def _table(finding: Finding, context: Context, rows: pd.DataFrame) -> pd.DataFrame:
    """The items of these rows, columns as in _ITEM."""
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
        action=rows["action"].fillna(finding.action),
        suggested=rows["suggested"],
    )[_ITEM]
