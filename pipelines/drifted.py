"""Whether a schedule has a reason to train: the answers that were given since differ from what the champion has learnt."""

from components.shared import scratch
from components.shared.errors import CannotRun, Refused
from components.shared.masking import masked
from components.shared.store import Store

DAYS = 30  # answers that are older say little of today


def reason(address: str, model: str) -> list[str]:
    """What moved, a line each, between the newest answers below an address (`s3://bucket/answers`) and a model's validation data.

    Raises CannotRun where that cannot be told: no answers within DAYS, too few, or no champion.
    """
    from components.watch.step import watch

    with scratch.folder() as folder:
        store = Store(address, known_as="--when-drifted")
        names = [name for name in store.names("", days=DAYS) if name.endswith(".parquet")]
        if not names:
            raise CannotRun(f"{masked(address)}: holds no Parquet file of answers written within {DAYS} days")
        for number, name in enumerate(names):
            store.get(name, folder / f"answers/{number}.parquet")
        try:
            watch([folder / "answers"], model=model)
        except Refused as refused:
            return list(refused.faults)
    return []
