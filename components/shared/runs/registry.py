"""MLflow's registry: one registered model, its versions, which of them is champion, and how that came about.

All of it lies in the registry alone, so that every member of a team sees the same. Aliases: `champion`; `challenger`, the last one
that did not replace it; `previous`, what a rollback goes back to. Tags of the registered model: `history.00001`, an entry for each
move of the champion; `decisions.DIGEST`, how often a test split has decided.
"""

import contextlib
import datetime
import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.shared import scratch
from components.shared.errors import CannotRun
from components.shared.models.package import Package
from components.shared.runs import logged_model
from components.shared.runs.connection import SEND, ask

ALIAS, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
IDENTITY, DAMAGED = "identity", "damaged"
FACTS = "facts"  # tag of a version: digests and test figures, as JSON
HISTORY, DECISIONS = "history.", "decisions."
PROMOTED, ROLLED_BACK, BY_HAND = "promoted", "rolled back", "by hand"
TITLE = "Champions, newest first; `darkroom history` says more:"
LONGEST = 2000  # letters of a reason; a tag takes 5,000


class Entry(NamedTuple):
    """One move of the champion. `done`: the alias followed; of a process that was killed before, the entry alone is there."""

    action: str  # PROMOTED, ROLLED_BACK, or BY_HAND: found out, since nobody wrote it down
    version: str  # the champion from then on; empty: none
    before: str  # the champion until then; empty: none
    when: str  # ISO 8601, UTC; empty: not known
    reason: str
    architecture: str = ""
    data_digest: str = ""
    git_commit: str = ""
    done: bool = False


def facts_of(version) -> dict:
    """What a version says of itself: its tags, and what the tag FACTS holds. An older Darkroom wrote all of it as tags.

    Anyone who reaches the server writes tags: what is no JSON object counts as nothing.
    """
    try:
        return {**version.tags, **json.loads(version.tags.get(FACTS, "{}"))}
    except (ValueError, TypeError, RecursionError):
        return dict(version.tags)


class Registry:
    """One registered model. Each call goes to the server, in time, and holds when other processes call at the same time."""

    def __init__(self, mlflow, name: str, *, make: bool = True) -> None:
        """`make`: the registered model, where there is none; else that raises CannotRun."""
        self._mlflow, self.client, self.name = mlflow, mlflow.MlflowClient(), name
        ask(mlflow, self._make if make else self._find)

    def _make(self) -> None:
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)

    def _find(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            names = [model.name for model in self.client.search_registered_models()]
            raise CannotRun(f"no registered model {self.name!r}; there are: {', '.join(names[:20]) or 'none'}") from None

    def champion(self):
        """The version that the alias names, or None."""

        def read():
            version = self.client.get_registered_model(self.name).aliases.get(ALIAS)
            return self.client.get_model_version(self.name, version) if version else None

        return ask(self._mlflow, read)

    def promote(self, version: str, reason: str) -> None:
        """Make a version champion, in one's turn (see `turns`): the former one is `previous`, and the history says why."""
        ask(self._mlflow, lambda: self._move(str(version), reason, PROMOTED))

    def rollback(self, version: str, reason: str) -> None:
        """Make a former champion champion again, in one's turn; `previous` is what had been before that one.

        The version that goes does not come back by itself (see `withdrawn`).
        """
        ask(self._mlflow, lambda: self._move(str(version), reason, ROLLED_BACK))

    def previous(self) -> str:
        """The version that a rollback goes back to; empty where there is none."""
        champion = self.champion()
        return _before(str(champion.version), self.log()) if champion else ""

    def _move(self, version: str, reason: str, action: str) -> None:
        """In an order that can be cut off anywhere: what the next one finds half done it finishes or takes back (`_repaired`)."""
        client, (aliases, entries) = self.client, self._repaired()
        before = aliases.get(ALIAS, "")
        if before == version:
            return
        number, when = max(entries, default=0) + 1, datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        tags = client.get_model_version(self.name, version).tags
        facts = {name: tags.get(name, "") for name in ("architecture", "data_digest", "git_commit")}
        entry = Entry(action, version, before, when, reason[:LONGEST], **facts)
        self._write(number, entry)
        self._name(PREVIOUS, before if action == PROMOTED else _before(version, _moves(aliases, entries)), aliases)
        client.set_registered_model_alias(self.name, ALIAS, version)
        self._close(number, entry, aliases)

    def _close(self, number: int, entry: Entry, aliases: dict[str, str]) -> None:
        """What follows from a move that the alias has made; the same again changes nothing."""
        said = f"{entry.when}: {entry.reason}"
        self.client.set_model_version_tag(self.name, entry.version, "champion_since", said)
        if entry.before:
            self.client.set_model_version_tag(self.name, entry.before, "champion_until", said)
        if aliases.get(CHALLENGER) == entry.version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)
        self._write(number, entry._replace(done=True))
        self._show()

    def _show(self) -> None:
        """The history on MLflow's page of the registered model, unless a person has described it."""
        if (told := self.client.get_registered_model(self.name).description) and not told.startswith(TITLE):
            return
        # MLflow's page leaves no room between columns.
        rows = [(f"{move.when[:10]} {move.when[11:16]}&emsp;", move.version or "none", move.architecture,
                 " ".join(move.reason.split())[:300].replace("|", "/")) for move in _moves(*self._state())[:10]]  # fmt: skip
        table = "\n".join(" | ".join(row) for row in [("when", "version", "architecture", "why"), ["---"] * 4, *rows])
        self.client.update_registered_model(self.name, f"{TITLE}\n\n{table}")

    def _repaired(self) -> tuple[dict[str, str], dict[int, Entry]]:
        """The aliases and the history. A last entry that was cut off is closed if the alias followed it, or else taken back."""
        aliases, entries = self._state()
        if entries and not (last := entries[max(entries)]).done:
            if aliases.get(ALIAS) == last.version:
                self._close(max(entries), last, aliases)
                return self._state()
            self.client.delete_registered_model_tag(self.name, f"{HISTORY}{max(entries):05d}")
            del entries[max(entries)]
            self._name(PREVIOUS, _before(aliases.get(ALIAS, ""), _moves(aliases, entries)), aliases)
            return self._state()
        return aliases, entries

    def _state(self) -> tuple[dict[str, str], dict[int, Entry]]:
        model = self.client.get_registered_model(self.name)
        rows = {}
        for name, value in model.tags.items():
            if name.startswith(HISTORY):
                with contextlib.suppress(ValueError, TypeError):  # somebody else's tag
                    rows[int(name.removeprefix(HISTORY))] = Entry(**json.loads(value))
        return {alias: str(version) for alias, version in model.aliases.items()}, dict(sorted(rows.items()))

    def _write(self, number: int, entry: Entry) -> None:
        value = json.dumps(entry._asdict(), ensure_ascii=False)
        self.client.set_registered_model_tag(self.name, f"{HISTORY}{number:05d}", value)

    def _name(self, alias: str, version: str, aliases: dict[str, str]) -> None:
        """Let an alias name a version; an empty one: none."""
        if version:
            self.client.set_registered_model_alias(self.name, alias, version)
        elif alias in aliases:
            self.client.delete_registered_model_alias(self.name, alias)

    def challenge(self, version: str) -> None:
        """Let `challenger` name a version that did not replace the champion."""
        ask(self._mlflow, lambda: self.client.set_registered_model_alias(self.name, CHALLENGER, version))

    def withdrawn(self, version: str) -> str:
        """When and why a version was rolled back; empty if it was not, or was champion again since."""
        last = next((move for move in self.log() if version in (move.version, move.before)), None)
        return f"{last.when}: {last.reason}" if last and last.action == ROLLED_BACK and last.before == version else ""

    def decisions(self, test_digest: str) -> int:
        """How often a test split has decided whether a candidate replaces the champion."""
        tags = ask(self._mlflow, lambda: self.client.get_registered_model(self.name)).tags
        count = tags.get(f"{DECISIONS}{test_digest}", "")
        return int(count) if count.isdecimal() else 0

    def count_decision(self, test_digest: str) -> None:
        """One decision more, in one's turn (see `turns`)."""
        count = str(self.decisions(test_digest) + 1)  # read before, so that a repeated call counts once
        ask(self._mlflow, lambda: self.client.set_registered_model_tag(self.name, f"{DECISIONS}{test_digest}", count))

    def log(self) -> list[Entry]:
        """Every move of the champion, newest first; with those that were made by hand in MLflow, as far as they left a trace."""
        return _moves(*ask(self._mlflow, self._state))

    def describe(self, version: str, description: str) -> None:
        """Replace a version's description."""
        ask(self._mlflow, lambda: self.client.update_model_version(self.name, version, description))

    def add(self, tags: dict[str, str], description: str, model_id: str) -> str:
        """The version of this identity, whose files were read back just now: the one that is there, or a new one.

        `tags`: what a new version says of itself; among them IDENTITY, the same for the same weights from the same data and
        knobs, and FACTS. A version whose files are not what was trained is marked, and a new one made.
        """
        while present := ask(self._mlflow, lambda: self._versions(tags[IDENTITY])):
            try:
                self.check(present[0])
            except logged_model.Unusable as error:
                print(f"register: {self.name} version {present[0].version}: {error}; a new version takes its place")
                mark = functools.partial(self.client.set_model_version_tag, self.name, present[0].version, DAMAGED, str(error))
                ask(self._mlflow, mark)
                continue
            return str(present[0].version)
        # A server refuses a source without the model's id.
        made = {"source": f"models:/{model_id}", "tags": tags, "description": description, "model_id": model_id}
        first = ask(self._mlflow, lambda: self.client.create_model_version(self.name, **made))
        # Numbers are given in turn: of several that came at once, or whose answer was lost on its way, all see the lowest.
        lowest, *others = ask(self._mlflow, lambda: self._versions(tags[IDENTITY])) or [first]
        for other in others:
            ask(self._mlflow, functools.partial(self._delete, other))
        return str(lowest.version)

    def _delete(self, version) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_model_version(self.name, version.version)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # its maker was faster
                raise

    def _versions(self, identity: str) -> list:
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.{IDENTITY} = '{identity}'")
        return sorted((version for version in found if DAMAGED not in version.tags), key=lambda one: int(one.version))

    def check(self, version) -> None:
        """Raise Unusable when the files of a version are gone, damaged or foreign."""

        def read() -> None:
            address = self.client.get_model_version_download_uri(self.name, version.version)
            logged_model.read_back(address, facts_of(version), version.tags.get(logged_model.DIGEST, ""))

        ask(self._mlflow, read, seconds=5 * SEND)

    def package(self, version, folder: Path) -> Package:
        """The package of a version, downloaded into a folder. Raises Unusable when its files are gone, damaged or foreign."""

        def read() -> Package:
            address = self.client.get_model_version_download_uri(self.name, version.version)
            return logged_model.package_of(address, folder, version.tags[logged_model.DIGEST])

        return ask(self._mlflow, read, seconds=5 * SEND)

    def seen(self, version) -> np.ndarray | None:
        """uint64 (m,): the keys of what a version has learnt from (see shared/data/seen); None when that was not kept."""
        from mlflow.exceptions import MlflowException

        from components.shared.data import seen

        def read() -> np.ndarray | None:
            with scratch.folder("model") as folder:
                try:
                    address = self.client.get_run(version.run_id).info.artifact_uri
                    return seen.read(logged_model.fetch(address, seen.FILE, folder))
                except (CannotRun, logged_model.Unusable):  # damaged, or gone
                    return None
                except MlflowException as error:
                    if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the run was deleted for good
                        return None
                    raise

        return ask(self._mlflow, read) if version.run_id else None


def _moves(aliases: dict[str, str], entries: dict[int, Entry]) -> list[Entry]:
    """What has happened, newest first; of a last entry that is not done the alias says whether it has."""
    champion, found = aliases.get(ALIAS, ""), []
    for entry in entries.values():
        if entry.done or (entry is entries[max(entries)] and entry.version == champion):
            found += [*_by_hand(found, entry.before), entry]
    return [*found, *_by_hand(found, champion)][::-1]


def _by_hand(found: list[Entry], champion: str) -> list[Entry]:
    """What must have happened between the last entry and the moment when this version was champion."""
    before = found[-1].version if found else ""
    why = "the alias was moved in MLflow itself" if found else "it was champion before there was a history"
    return [Entry(BY_HAND, champion, before, "", why)] if champion != before else []


def _before(version: str, moves: list[Entry]) -> str:
    """The champion that a version has replaced when it came last, other than by a rollback; empty where there was none."""
    return next((move.before for move in moves if move.version == version and move.action != ROLLED_BACK), "")
