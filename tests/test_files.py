"""Files are written whole or not at all, in their order, and by one process at a time."""

import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from cvae_lib.files import BusyError, hold, removed_at_the_end, write_beside, write_text


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_text_has_the_same_bytes_everywhere(tmp_path):
    """Also where the encoding of the system has no umlauts."""
    code = "import pathlib, cvae_lib.files as files; files.write_text(pathlib.Path('text'), '\\xe4\\nb\\n')"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=env)
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa4\nb\n" and list_names(tmp_path) == ["text"]


def test_an_error_leaves_what_was_there(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), write_beside(tmp_path / "a", tmp_path / "b") as (a, _):
        a.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert list_names(tmp_path) == ["a", "b"]
    assert {path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"old"}


def test_ctrl_c_ends_the_process_with_a_line_and_removes_what_is_temporary(tmp_path):
    """What a block has left behind in its usual end is its own affair: that path may hold something else by then."""
    code = (
        "import os, pathlib, signal; from cvae_lib.files import end_at_once, removed_at_the_end\n"
        "end_at_once('Come again.')\n"
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"  # as while TensorFlow is imported
        "folder, file, other = map(pathlib.Path, ('folder', 'file', 'other'))\n"
        "with removed_at_the_end(other): other.touch()\n"
        "assert not other.exists(); other.touch()\n"
        "with removed_at_the_end(folder, file):\n"
        "    folder.mkdir(); (folder / 'part').touch(); file.touch(); print('a line')\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('not reached')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (130, "a line\n", "\nInterrupted. Come again.\n")
    assert list_names(tmp_path) == ["other"]


def test_a_folder_is_removed_with_what_is_in_it(tmp_path):
    with pytest.raises(ZeroDivisionError), removed_at_the_end(tmp_path / "folder", tmp_path / "nothing"):
        (tmp_path / "folder" / "below").mkdir(parents=True)
        raise ZeroDivisionError
    assert list_names(tmp_path) == []


def test_all_is_on_the_disk_before_a_name_changes_and_names_change_in_their_order(tmp_path, monkeypatch):
    """Otherwise a power cut could leave an empty file under a final name."""
    done = []

    def note(number):
        done.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{number}'))}")

    def note_and_rename(source, target):
        done.append(f"rename {target.name}")
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", note_and_rename)
    with write_beside(tmp_path / "b", tmp_path / "a") as new:
        for path in new:
            path.touch()
    assert done == ["sync new.b", "sync new.a", "rename b", "rename a", f"sync {tmp_path.name}"]


def test_no_file_stays_open(tmp_path):
    """A training run writes at the end of each of its epochs."""
    before = len(os.listdir("/proc/self/fd"))
    with hold(tmp_path / "text"):
        write_text(tmp_path / "text", "a")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_held_is_refused_to_others(tmp_path):
    """And is free again afterwards, whatever the end; another name is free all the time."""
    path = tmp_path / "model"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold(path), hold(tmp_path / "other"):
            with pytest.raises(BusyError, match=f"{path}: found another process that writes it; .* another --out"):
                with hold(path):
                    pytest.fail("two hold it")
            raise ZeroDivisionError
    assert list_names(tmp_path) == []


def test_who_waits_comes_after_the_other(tmp_path):
    """Also when the first one removes the lock that the second one waits for, and a third one comes."""
    path, order = tmp_path / "manifest.json", []

    def come_second():
        with hold(path, wait=True):
            with pytest.raises(BusyError), hold(path):
                pass
            order.append("second")

    second = threading.Thread(target=come_second)
    with hold(path):
        second.start()
        second.join(0.2)
        order.append("first")
    second.join(10)
    assert order == ["first", "second"] and list_names(tmp_path) == []


def test_the_lock_of_a_killed_process_is_in_nobodys_way(tmp_path):
    code = (
        "import pathlib, sys, time; from cvae_lib.files import hold\n"
        "with hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "model"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BusyError), hold(tmp_path / "model"):
            pass
        process.send_signal(signal.SIGKILL)
    assert list_names(tmp_path) == ["model.lock"]
    with hold(tmp_path / "model"):
        pass
    assert list_names(tmp_path) == []


def test_a_file_system_without_locks_keeps_nobody_away(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold(tmp_path / "model"), hold(tmp_path / "model"):
        pass
    assert list_names(tmp_path) == []


def test_windows_keeps_nobody_away(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with hold(tmp_path / "model"), hold(tmp_path / "model"):
        pass
    write_text(tmp_path / "text", "a")
    assert list_names(tmp_path) == ["text"]
