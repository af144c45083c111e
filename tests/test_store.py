"""The store of what outlives a pod, on a folder; tests of trainings and of parts use a real S3."""

import os
import time

import pytest
from test_server import free_port

from components.shared.errors import CannotRun
from components.shared.store import STORE, open_store


def test_without_an_address_there_is_no_store(monkeypatch):
    monkeypatch.delenv(STORE, raising=False)
    assert open_store() is None


def test_what_was_put_is_got_listed_and_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    store, file = open_store(), tmp_path / "file"
    assert not store.get("a/b/one", file)
    assert not file.exists()
    assert store.names("a") == []
    for key, text in (("a/b/two", "first"), ("a/b/one", "1"), ("a/b/two", "second"), ("other", "x")):
        file.write_text(text)
        store.put(key, file)
    assert store.get("a/b/two", file)
    assert file.read_text() == "second"
    assert store.names("a") == store.names("a/") == ["a/b/one", "a/b/two"]
    for _ in range(2):  # deleting what is gone is no fault
        store.delete("a/b/two")
    assert store.names("") == ["a/b/one", "other"]
    assert not store.get("a/b/two", file)


def test_what_was_not_written_for_long_is_cleaned_away_but_no_folder_in_which_something_is_new(tmp_path, monkeypatch):
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    store, file = open_store(), tmp_path / "file"
    file.write_text("x")
    store.clean("parts")  # nothing is there
    for key in ("parts/old", "parts/new", "ended/begun", "ended/1.npz", "going/begun", "going/1.npz"):
        store.put(f"kept/{key}", file)
        if key not in ("parts/new", "going/1.npz"):
            os.utime(tmp_path / "store/kept" / key, (0, time.time() - 31 * 86400))
    store.clean("kept/parts")
    assert store.names("kept") == [
        f"kept/{key}" for key in ("ended/1.npz", "ended/begun", "going/1.npz", "going/begun", "parts/new")
    ]
    store.clean("kept")
    assert store.names("kept") == ["kept/going/1.npz", "kept/going/begun", "kept/parts/new"]


def test_what_cannot_be_kept_is_one_line_without_a_secret(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(STORE, (tmp_path / "file").as_uri())
    with pytest.raises(CannotRun, match=r"DARKROOM_STORE") as fault:
        open_store().put("a/b", tmp_path / "file")
    monkeypatch.setenv(STORE, "nothing://user:secret@host/path")
    with pytest.raises(CannotRun) as fault:
        open_store().names("a")
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize(("secret", "trouble"), [("", "Unable to locate credentials"), ("x", "Could not connect")])
def test_no_test_meets_the_credentials_of_the_one_before_it(secret, trouble, tmp_path, monkeypatch):
    # The second has what the first lacks; fsspec alone would give it the file system of the first.
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", secret) if secret else monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv(STORE, "s3://bucket")
    with pytest.raises(CannotRun, match=trouble):
        open_store().names("a")
