"""validate's findings -> a new data version: what was chosen is dropped, relabelled, moved or cleaned, and written down."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd

from components.shared import destination, files
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun
from components.shared.pictures import decode, faces
from components.shared.pictures.strip import strip

_LOG = ["data_before", "data_after", "code", "source", "action", "before", "after"]


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

    Raises CannotRun when the findings are about other data, or a code has no fix.
    """
    summary = files.read_json(validation / "summary.json")
    before = _digest_of(data)
    if summary["data_digest"] != before:
        raise CannotRun(f"{validation}: is about other data than {data}; `dvc repro validate` looks at it as it is now")
    found = pd.read_parquet(validation / "findings.parquet")
    if not apply:
        _list(found)
        return
    destination.check_file(log, ours=_is_log, inputs=[data, validation])
    chosen = _chosen(found, apply, only)
    changes = _changes(chosen, found, data)
    if not changes:
        raise CannotRun(f"{', '.join(apply)}: nothing to change; the samples named are not among its findings")
    with files.whole_folder(data, kind="", ours=dataset.is_shard) as fresh:
        if _digest_of(data) != before:
            raise CannotRun(f"{data}: another process has just changed it; `dvc repro validate` looks at it as it is now")
        rows = _write(data, fresh, changes, quarantine)
        after = _digest_of(fresh)
        _append(log, [{"data_before": before, "data_after": after, **row} for row in rows])
    print(f"{data}: {len(rows):,} samples changed, written down in {log}")
    print("next: dvc add data && dvc repro; `git commit` keeps the new version, `dvc checkout` brings the old one back")


def _digest_of(data: Path) -> str:
    return dataset.data_digest({shard.name: files.digest(shard, "md5") for shard in dataset.shards(data)})


def _is_log(file: Path) -> bool:
    with file.open(encoding="utf-8") as stream:
        return stream.readline().strip() == ",".join(_LOG)


@dataclasses.dataclass(frozen=True)
class _Change:
    """What happens to one sample. `value`: the new label or split."""

    code: str
    action: str
    value: str = ""


def _list(found: pd.DataFrame) -> None:
    for code, part in found.groupby("code", sort=False):
        what = part["action"].iloc[0].replace("_", " ") or "by hand"
        print(f"{code:<18}{len(part):>8,} samples  {what:<16}{part['problem'].iloc[0]}")
    print("nothing was changed; --apply CODE ... fixes them, --only PATH ... just these" if len(found) else "nothing to fix")


def _chosen(found: pd.DataFrame, apply: Iterable[str], only: Iterable[str]) -> pd.DataFrame:
    fixable = set(found.loc[found["action"] != "", "code"])
    wrong = [code for code in apply if code not in fixable]
    if wrong:
        raise CannotRun(*(f"--apply {code}: no finding that can be fixed so; there are: {', '.join(sorted(fixable)) or 'none'}"
                          for code in wrong))  # fmt: skip
    chosen = found[found["code"].isin(list(apply))]
    guessed = sorted(set(chosen.loc[chosen["action"] == "relabel_chosen", "code"]))
    if guessed and not only:
        raise CannotRun(
            f"--apply {guessed[0]}: a model's guess is no label; look at report.html and name the right ones with --only"
        )
    return chosen[chosen["source"].isin(list(only))] if only else chosen


def _changes(chosen: pd.DataFrame, found: pd.DataFrame, data: Path) -> dict[tuple[str, str], _Change]:
    """(shard, source) -> what happens to it. A sample that is dropped for one finding is not changed for another."""
    facts = pd.concat([dataset.read_facts(shard).to_pandas() for shard in dataset.shards(data)], ignore_index=True)
    split = dict(zip(facts["source"], facts["split"].fillna(""), strict=True))
    sides = facts.groupby(["group", "split"]).size()
    changes: dict[tuple[str, str], _Change] = {}
    for row in chosen.itertuples():
        change = _change(row, split, sides)
        key = (row.shard, row.source)
        if change and not (key in changes and changes[key].action == "drop"):
            changes[key] = change
    return changes


def _change(row, split: dict[str, str], sides: pd.Series) -> _Change | None:
    match row.action:
        case "drop_from_train":
            # Of two that are the same, the one goes that is learnt from, or tuned on.
            order = (*dataset.SPLITS, "")
            earlier = order.index(split[row.source]) < order.index(split[row.other])
            return _Change(row.code, "drop") if earlier else None
        case "relabel" | "relabel_chosen":
            return _Change(row.code, "relabel", row.suggested)
        case "move_group":
            sizes = sides[row.group]
            largest = max((name for name in dataset.SPLITS if name in sizes), key=lambda name: sizes[name])
            return _Change(row.code, "move", largest) if largest != row.split else None
    return _Change(row.code, row.action)


def _write(data: Path, fresh: Path, changes: dict[tuple[str, str], _Change], quarantine: Path) -> list[dict]:
    """Write every shard anew that something changes in; the others stay as they are. Returns what the log says."""
    rows = []
    touched = {shard for shard, _ in changes}
    for shard in dataset.shards(data):
        if shard.name not in touched:
            dataset.keep_shard(shard, fresh / shard.name)
            continue
        kept = []
        for sample in dataset.read_samples(shard):
            change = changes.get((shard.name, sample.source))
            if change is None:
                kept.append(sample)
                continue
            fixed, before, after = _fixed(sample, change, quarantine)
            rows.append(
                {"code": change.code, "source": sample.source, "action": change.action, "before": before, "after": after}
            )
            kept += [fixed] if fixed else []
        if kept:
            dataset.write_shard(kept, fresh / shard.name)
    if not any(fresh.iterdir()):
        raise CannotRun(f"{data}: nothing would be left of it")
    return rows


def _fixed(sample: Sample, change: _Change, quarantine: Path) -> tuple[Sample | None, str, str]:
    """The sample as it is to be (none when it is dropped), and what is said of it before and after."""
    match change.action:
        case "drop":
            folder = quarantine / change.code
            dataset.write_tree(sample, folder)
            return None, sample.label or "", str(folder)
        case "relabel":
            return dataclasses.replace(sample, label=change.value), sample.label or "", change.value
        case "move":
            return dataclasses.replace(sample, split=change.value), sample.split or "", change.value
    clean = {"strip_metadata": strip, "blur_faces": _blurred}
    frames = tuple((clean[change.action](content), path) for content, path in sample.frames)
    fixed = dataclasses.replace(sample, frames=frames)
    return fixed, sample.id, fixed.id


def _blurred(frame: bytes) -> bytes:
    return faces.blur(frame, decode.decode(frame, max_pixels=decode.LARGEST).pixels)[0]


def _append(log: Path, rows: list[dict]) -> None:
    """Old rows stay; a spreadsheet takes no cell of ours for a formula."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _LOG, lineterminator="\n")
    if not log.exists():
        writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value for name, value in row.items()}
        )
    old = log.read_text(encoding="utf-8") if log.exists() else ""
    with files.whole_file(log, ours=_is_log) as temporary:
        temporary.write_text(old + text.getvalue(), encoding="utf-8", errors="backslashreplace")
