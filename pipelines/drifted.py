"""Whether a schedule has a reason to train: the answers that were given since differ from what the champion has learnt."""

from components.shared import scratch
from components.shared.errors import Refused
from components.shared.store import Store


def reason(address: str, model: str) -> list[str]:
    """What moved, a line each, between answers below an address (`s3://bucket/answers`) and the validation data of a model.

    Raises CannotRun where that cannot be told: no answers, too few, or no champion.
    """
    from components.watch.step import watch

    with scratch.folder() as folder:
        store = Store(address, known_as="--when-drifted")
        for number, name in enumerate(name for name in store.names("") if name.endswith(".parquet")):
            store.get(name, folder / f"answers/{number}.parquet")
        (folder / "answers").mkdir(exist_ok=True)
        try:
            watch([folder / "answers"], model=model)
        except Refused as refused:
            return list(refused.faults)
    return []
