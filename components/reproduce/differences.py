"""What differs between a training and its repetition, beside the metrics: a line each."""

from typing import NamedTuple


class Record(NamedTuple):
    """`record`: the run.json of train; `packages`: name -> version, empty where that was not recorded."""

    record: dict
    metrics: dict[str, float]
    evaluated: dict  # the knobs of evaluate; empty: not recorded
    packages: dict[str, str]
    processor: str


def differences(then: Record, now: Record) -> list[str]:
    """All that may be the reason for other metrics."""
    from components.shared.runs import origin

    found = []
    before, after = then.record["tags"], now.record["tags"]
    if before["git_commit"].endswith("+changes"):
        found.append(f"code: the run's had changes that were not committed on top of {before['git_commit'][:12]}")
    for name in ("data_digest", "precision", "onednn"):
        if before.get(name) != after.get(name):
            found.append(f"{name}: {before.get(name)}, now {after.get(name)}")
    for name, (was, is_now) in origin.differing(then.record["knobs"], now.record["knobs"]).items():
        found.append(f"{name}: {was}, now {is_now}")
    if then.processor != now.processor:
        found.append(f"processor: {then.processor or 'not recorded'}, now {now.processor}")
    changed = [f"{name} {then.packages.get(name, '-')} -> {now.packages.get(name, '-')}"
               for name in sorted(then.packages.keys() | now.packages.keys())
               if then.packages.get(name) != now.packages.get(name)]  # fmt: skip
    if changed:
        more = f", and {len(changed) - 10} more" if len(changed) > 10 else ""
        found.append(
            f"packages: {', '.join(changed[:10])}{more}" if then.packages else "packages: those of the run are not recorded"
        )
    return found
