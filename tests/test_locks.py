"""Two writers of one place can never both end well; what a killed one left is cleared by the next."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import draw_stills

from components.ingest.step import ingest
from components.shared import files, scratch
from components.shared.data import dataset
from components.shared.errors import CannotRun

ROUNDS = 40
WRITER = """
import sys, json
from pathlib import Path
from components.shared import files, scratch
from components.shared.errors import Stop
for line in sys.stdin:
    what, where, name = json.loads(line)
    try:
        if what == "folder":
            with files.whole_folder(Path(where), kind="test") as fresh:
                (fresh / name).write_text(name)
                print("in", flush=True)
                sys.stdin.readline()
        elif what == "file":
            with files.whole_file(Path(where), ours=lambda file: file.read_text() in "0123") as fresh:
                fresh.write_text(name)
                print("in", flush=True)
                sys.stdin.readline()
        elif what == "scratch":
            with scratch.folder() as folder:
                (folder / name).write_text(name)
                print(folder, flush=True)
                sys.stdin.readline()
        else:
            import contextlib
            from components.ingest.step import ingest
            with contextlib.redirect_stdout(sys.stderr):
                ingest(name, Path(where), add=True)
            print("in")
    except Stop as stop:
        print("told" if "another process is writing it" in str(stop) else repr(stop), flush=True)
    print("done", flush=True)
"""


class Writer:
    """A process that writes where it is told to, and waits in the middle."""

    def __init__(self, **environment) -> None:
        import os

        self.process = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})  # fmt: skip

    def say(self, text: str = "") -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        while line := self.process.stdout.readline().strip():
            if not line.startswith(("found", "/")) or "darkroom-" in line:
                return line
        return ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def writers():
    made = [Writer() for _ in range(4)]
    yield made
    for writer in made:
        writer.kill()


@pytest.mark.parametrize("what", ["folder", "file"])
def test_of_four_writers_at_once_exactly_one_ends_well(writers, tmp_path, what):
    final = tmp_path / "out"
    for _ in range(ROUNDS):
        for number, writer in enumerate(writers):
            writer.say(json.dumps([what, str(final), str(number)]))
        heard = [writer.hear() for writer in writers]
        assert sorted(heard) == ["in", "told", "told", "told"]
        winner = heard.index("in")
        writers[winner].say()
        assert [writer.hear() for writer in writers] == ["done"] * 4
        written = final.read_text() if what == "file" else (final / str(winner)).read_text()
        assert written == str(winner)
        assert len(list(tmp_path.iterdir())) == 2  # it and its lock


def test_a_writer_that_was_killed_holds_nobody_up(writers, tmp_path):
    final = tmp_path / "out"
    for first, second in zip(writers[:2], writers[2:], strict=True):
        first.say(json.dumps(["folder", str(final), "first"]))
        assert first.hear() == "in"
        first.kill()
        second.say(json.dumps(["folder", str(final), "second"]))
        assert second.hear() == "in"
        second.say()
        assert second.hear() == "done"
        assert sorted(file.name for file in final.iterdir()) == [".darkroom", "second"]
        assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "out"]


def test_killed_at_any_moment_the_old_folder_or_the_new_one_is_there_whole(tmp_path):
    final = tmp_path / "out"
    script = (
        "import sys; from pathlib import Path; from components.shared import files\n"
        "for number in range(10**6):\n"
        "    with files.whole_folder(Path(sys.argv[1]), kind='test') as fresh:\n"
        "        for name in 'abc': (fresh / name).write_text(str(number))\n"
        "    print(number, flush=True)\n"
    )
    for wait in range(12):
        process = subprocess.Popen([sys.executable, "-c", script, str(final)], stdout=subprocess.PIPE, text=True)
        for _ in range(2 + 3 * wait):
            process.stdout.readline()
        process.kill()
        process.wait()
        files.restore(final)
        assert sorted(file.name for file in final.iterdir()) == [".darkroom", "a", "b", "c"]
        assert len({(final / name).read_text() for name in "abc"}) == 1


def test_what_one_ingest_adds_is_not_lost_by_another(writers, tmp_path):
    sources = [draw_stills(tmp_path / f"s{number}", each=2, seed=number) for number in range(4)]
    wanted = [{path.read_bytes() for path in source.rglob("*.png")} for source in sources]
    for number in range(8):
        data = tmp_path / f"data{number}"
        for source, writer in zip(sources, writers, strict=True):
            writer.say(json.dumps(["ingest", str(data), str(source)]))
        ended = [writer.hear() for writer in writers]
        assert [writer.hear() for writer in writers] == ["done"] * 4
        kept = {frame for shard in dataset.shards(data) for sample in dataset.read_samples(shard) for frame, _ in sample.frames}
        assert set(ended) <= {"in", "told"}
        assert all(wanted[index] <= kept for index, said in enumerate(ended) if said == "in")


def test_a_link_and_what_it_leads_to_are_one_place(writers, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    writers[0].say(json.dumps(["folder", str(tmp_path / "out"), "0"]))
    assert writers[0].hear() == "in"
    with (
        pytest.raises(CannotRun, match="link: another process is writing it"),
        files.whole_folder(tmp_path / "link", kind="test"),
    ):
        pass


def test_a_reader_leaves_a_replacement_under_way_alone(writers, tmp_path):
    final = tmp_path / "out"
    writers[0].say(json.dumps(["folder", str(final), "0"]))
    assert writers[0].hear() == "in"
    (tmp_path / ".out.old.tmp").mkdir()  # as between the two renames
    with pytest.raises(CannotRun, match="another process is writing it"):
        files.restore(final)
    assert not final.exists()


def test_a_scratch_folder_of_a_killed_process_is_cleared_by_the_next_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, alive = Writer(TMPDIR=str(tmp_path)), Writer(TMPDIR=str(tmp_path))
    try:
        for writer in (killed, alive):
            writer.say(json.dumps(["scratch", "", "file"]))
        left, used = Path(killed.hear()), Path(alive.hear())
        assert left.stat().st_mode & 0o777 == 0o700
        killed.kill()
        assert (left / "file").exists()
        precious = tmp_path / "darkroom-photos"  # a person's folder that happens to begin so
        precious.mkdir()
        (precious / "a.png").write_text("mine")
        (tmp_path / "darkroom-link").symlink_to(precious)
        with scratch.folder() as folder:
            assert folder.parent == tmp_path
            assert sorted(tmp_path.iterdir()) == sorted([used, folder, precious, tmp_path / "darkroom-link"])
        assert (precious / "a.png").exists()
        assert (used / "file").exists()
    finally:
        killed.kill()
        alive.kill()


def test_a_killed_ingest_leaves_no_scratch_folder_after_the_next(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    draw_stills(tmp_path / "s", each=3)
    shutil.make_archive(str(tmp_path / "s"), "zip", tmp_path / "s")
    script = (
        "import os, signal, sys; from pathlib import Path; from components.ingest import step\n"
        "step.understand = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "step.ingest(sys.argv[1], Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "s.zip"), str(tmp_path / "data")]
    import os

    assert subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}).returncode == -9
    assert list((tmp_path / "tmp").iterdir())
    ingest(str(tmp_path / "s.zip"), tmp_path / "data")
    assert not list((tmp_path / "tmp").iterdir())


def test_a_disk_without_locks_is_written_by_one_process_all_the_same(tmp_path):
    """The library's own file lock takes over where `flock` says ENOSYS; ours where it says ENOLCK, as NFS does without its lock daemon."""
    script = (
        "import errno, fcntl, os, sys\n"
        "def flock(*_): raise OSError(int(sys.argv[2]), 'no locks')\n"
        "fcntl.flock = flock\n"
        "from pathlib import Path; from components.shared import files\nfrom components.shared.errors import Stop\n"
        "with files.whole_folder(Path(sys.argv[1]), kind='test') as fresh:\n"
        "    (fresh / 'a').write_text('x')\n"
        "    try:\n"
        "        with files.whole_folder(Path(sys.argv[1]), kind='test'): print('both')\n"
        "    except Stop as stop: print(stop)\n"
    )
    import errno

    for code in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / f"out{code}"), str(code)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "another process is writing it" in done.stdout
        assert done.stderr == ""
        assert (tmp_path / f"out{code}/a").exists()
