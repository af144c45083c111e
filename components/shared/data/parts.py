"""What is computed of each shard alone, kept in the store: whoever needs it next, in another run or another pod, computes nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared import files, scratch
from components.shared.data.remote import Shards
from components.shared.errors import CannotRun
from components.shared.store import Store

DIGEST = 32  # bytes behind each result: a store may hand out what it was not given


@dataclass(frozen=True)
class Parts:
    """The results of one step, a file a shard, under a digest of the shard and of `decided_by`: knobs and code that make them.

    `work({shard: file})` computes the results of a few shards, each into its file.
    """

    store: Store
    step: str
    shards: Shards
    decided_by: str
    work: Callable[[dict[Path, Path]], Any]

    def missing(self, share: str = "1/1") -> list[str]:
        """The shards whose results are not kept; with a share `i/n`, of every n-th shard alone: the same, whatever is kept."""
        number, count = (int(text) for text in share.split("/"))
        if count == 1:
            self.store.clean(f"parts/{self.step}")
        kept = set(self.store.names(f"parts/{self.step}"))
        return [name for name in self.shards.names[number - 1 :: count] if self._key(name) not in kept]

    def make(self, names: list[str]) -> list[Any]:
        """Compute and keep the results of these shards, a few at a time; what `work` returned of each few."""
        returned = []
        for few in self.shards.few(names):
            with scratch.folder("parts") as folder:
                results = {shard: folder / shard.name for shard in few}
                returned.append(self.work(results))
                for shard, result in results.items():
                    digest = bytes.fromhex(files.digest(result))
                    with result.open("ab") as stream:
                        stream.write(digest)
                    self.store.put(self._key(shard.name), result)
        return returned

    def get(self, name: str, file: Path) -> None:
        """Bring the results of a shard into a file. Raises CannotRun when they are not kept, or damaged: then not any more."""
        key, again = self._key(name), "run again, and they are computed again"
        if not self.store.get(key, file):
            raise CannotRun(f"{self.step}: the results of {name} are not in the store any more; {again}")
        with file.open("r+b") as stream:
            stream.seek(max(file.stat().st_size - DIGEST, 0))
            digest = stream.read()
            stream.truncate(max(file.stat().st_size - DIGEST, 0))
        if files.digest(file) != digest.hex():
            self.store.delete(key)
            raise CannotRun(f"{self.step}: the results of {name} were damaged in the store; {again}")

    def _key(self, name: str) -> str:
        return f"parts/{self.step}/{key(self.shards, name, self.decided_by)}"


def key(shards: Shards, name: str, decided_by: str) -> str:
    """What the results of a shard are known by."""
    return hashlib.sha256(f"{name} {shards.md5(name)} {decided_by}".encode()).hexdigest()


def code_of(*modules: Any) -> str:
    """A digest of these modules' source and of the decoders: with others, results may be others."""
    import PIL
    import simplejpeg

    code = b"".join(Path(module.__file__).read_bytes() for module in modules)
    return f"{hashlib.sha256(code).hexdigest()} Pillow {PIL.__version__} simplejpeg {simplejpeg.__version__}"
