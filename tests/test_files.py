import os
import signal
import subprocess
import sys

import pytest

from components.shared import files
from components.shared.errors import CannotRun


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    final = tmp_path / "out"
    with files.whole_folder(final, kind="test") as fresh:
        (fresh / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), files.whole_folder(final, kind="test") as fresh:
        (fresh / str(1 // 0)).write_text("2")
    assert sorted(path.name for path in final.iterdir()) == [".darkroom", "a"]
    with files.whole_folder(final, kind="test") as fresh:
        (fresh / "c").write_text("3")
    assert sorted(path.name for path in final.iterdir()) == [".darkroom", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "out"]


def hold(final) -> subprocess.Popen:
    """Another process that is writing the folder."""
    script = (
        "import sys, time; from pathlib import Path; from components.shared import files\n"
        "with files.whole_folder(Path(sys.argv[1]), kind='test') as fresh:\n"
        "    (fresh / 'half').write_text('x'); print('in', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(final)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def test_a_second_writer_is_told_at_once_and_a_killed_one_leaves_nothing(tmp_path):
    final = tmp_path / "out"
    process = hold(final)
    with pytest.raises(CannotRun, match="another process is writing it"), files.whole_folder(final, kind="test"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not final.exists()
    with files.whole_folder(final, kind="test") as fresh:
        (fresh / "a").write_text("1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "out"]


def test_a_kill_between_the_two_renames_is_mended(tmp_path):
    (tmp_path / ".out.old.tmp").mkdir()
    (tmp_path / ".out.old.tmp" / "a").write_text("1")
    files.restore(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "\u00e9"})
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"c": object()})
    assert files.read_json(tmp_path / "a.json") == {"a": "\u00e9", "b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_damaged_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CannotRun, match=r"a\.json: not valid JSON"):
        files.read_json(tmp_path / "a.json")
