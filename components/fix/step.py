"""validate's findings -> a new data version: what was chosen is dropped, relabelled, moved or cleaned, and written down."""

import dataclasses
from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.fix import quarantine as quarantines
from components.fix import record
from components.fix.decisions import Change, decide
from components.shared import destination, files, screen
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun
from components.shared.pictures import decode, faces
from components.shared.pictures.strip import strip

_COLUMNS = ["code", "message", "text", "shard", "row", "source", "split", "label", "picture", "other", "action", "suggested"]
_LISTED = 20  # changes that are printed; all of them are in the record


def fix(
    data: Annotated[Path, "the folder of shards"],
    validation: Annotated[Path, "what validate wrote about it"],
    *,
    apply: Annotated[tuple[str, ...], "codes of the findings to fix, such as W_DUPLICATE; without it they are listed"] = (),
    only: Annotated[tuple[str, ...], "paths of samples: no other is touched"] = (),
    quarantine: Annotated[Path, "folder for the files of samples that are dropped"] = Path("quarantine"),
    log: Annotated[Path, "the record of every fix, a row per sample"] = Path("fixes.csv"),
) -> None:
    """List what can be fixed, or fix what is chosen. Nothing is changed without --apply; nothing is lost: see `quarantine`.

    Killed at any moment, it can be run again: files that are in quarantine already stay, and no row of the record is lost or
    doubled. Raises CannotRun when the findings are about other data, or a code has no fix.
    """
    summary = files.read_json(validation / "summary.json")
    files.restore(data)  # a kill may have come between the two renames of the fix before
    before = _digest_of(data)
    place = quarantine.resolve()
    destination.refuse_inside_ours(f"--quarantine {quarantine}", (place, *place.parents))
    destination.check_file(log, ours=record.is_record, inputs=[data, validation])
    record.settle(log, before)
    if not isinstance(summary, dict) or summary.get("data_digest") != before:
        raise CannotRun(f"{validation}: is about other data than {data}; `dvc repro validate` judges it as it is now")
    findings = _findings(validation / "findings.parquet")
    if not apply:
        _list(findings)
        return
    changes = decide(findings, apply, only)
    with files.whole_folder(data, kind="", ours=dataset.is_shard) as fresh:
        if _digest_of(data) != before:
            raise CannotRun(f"{data}: another process has just changed it; `dvc repro validate` judges it as it is now")
        rows = _write(data, fresh, changes, quarantine)
        after = _digest_of(fresh)
        record.prepare(log, after, [{"data_before": before, "data_after": after, **row} for row in rows])
    record.settle(log, after)
    for change in list(changes.values())[:_LISTED]:
        print(f"  {change.action} {change.text}")
    print(f"{data}: {screen.number(len(rows), 'sample')} changed, written down in {log}")
    print("next: dvc add data && dvc repro; `git commit` keeps the new version, `dvc checkout` brings the old one back")


def _digest_of(data: Path) -> str:
    return dataset.data_digest({shard.name: files.digest(shard, "md5") for shard in dataset.shards(data)})


def _findings(file: Path) -> pd.DataFrame:
    """The rows of findings.parquet. Raises CannotRun when the file is missing, damaged, or of an older version."""
    try:
        return pq.read_table(file, columns=_COLUMNS).to_pandas()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise CannotRun(f"{file}: no findings that can be read ({reason}); `dvc repro --force validate` writes them") from None


def _list(findings: pd.DataFrame) -> None:
    for code, part in findings.groupby("code", sort=False):
        changed = part["action"][~part["action"].isin(["", "keep"])]
        what = f"{changed.iloc[0].replace('_', ' ')} {len(changed):,}" if len(changed) else "by hand"
        print(screen.wrapped(part["message"].iloc[0], f"{code:<18}{what:<20}"))
    print("nothing was changed; --apply CODE ... fixes them, --only PATH ... just these" if len(findings)
          else "nothing that a command can fix; report.html says what else there is")  # fmt: skip


def _write(data: Path, fresh: Path, changes: dict[tuple[str, int], Change], quarantine: Path) -> list[dict]:
    """Write every shard anew in which something changes; the others stay as they are. Returns rows for the record."""
    rows = []
    touched = {shard for shard, _ in changes}
    for shard in dataset.shards(data):
        if shard.name not in touched:
            dataset.keep_shard(shard, fresh / shard.name)
            continue
        kept = []
        for number, sample in enumerate(dataset.read_samples(shard)):
            fixed: Sample | None = sample
            if change := changes.get((shard.name, number)):
                fixed, before, after = _fixed(sample, change, quarantine)
                about = {"code": change.code, "source": sample.source, "action": change.action}
                rows.append(about | {"before": before, "after": after})
            kept += [fixed] if fixed else []
        if kept:
            dataset.write_shard(kept, fresh / shard.name)
    if not any(fresh.iterdir()):
        raise CannotRun(f"{data}: nothing would be left of it; choose fewer findings, or samples with --only")
    return rows


def _fixed(sample: Sample, change: Change, quarantine: Path) -> tuple[Sample | None, str, str]:
    """The sample as it is to be (None when it is dropped), and what the record says of it before and after."""
    match change.action:
        case "drop":
            return None, sample.label or "", str(quarantines.keep(sample, quarantine / change.code))
        case "relabel":
            return dataclasses.replace(sample, label=change.value), sample.label or "", change.value
        case "move":
            return dataclasses.replace(sample, split=change.value), sample.split or "", change.value
    clean = {"strip_metadata": strip, "blur_faces": _blurred}[change.action]
    fixed = dataclasses.replace(sample, frames=tuple((clean(content), path) for content, path in sample.frames))
    return fixed, sample.id, fixed.id


def _blurred(frame: bytes) -> bytes:
    return faces.blur(frame, decode.decode(frame, max_pixels=decode.LARGEST).pixels)[0]
