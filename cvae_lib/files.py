"""Write files whole or not at all, and keep another run away from them: a run may be stopped at any moment."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvae_lib import BookError

_temporary: set[Path] = set()  # what this process still has to remove


class BusyError(BookError):
    """A file or folder that another process is writing: the message names it and says what to do."""


def end_at_once(said: str) -> None:
    """Let Ctrl-C, from now on, remove what is half written, say a line, and end the process with the code 130.

    The default handler raises KeyboardInterrupt wherever the process is. Inside TensorFlow or HDF5 that is lost, comes
    out as another error, or crashes; and a run that can be killed at any moment can be ended at any moment, too.
    """
    stderr = os.dup(2)  # which leads nowhere while TensorFlow is imported

    def end(*_: object) -> None:
        with suppress(Exception):  # whatever happens here, the process ends
            sys.stdout.flush()
            remove(*_temporary)
        os.write(stderr, f"\nInterrupted. {said}\n".encode())
        os._exit(130)

    signal.signal(signal.SIGINT, end)


def remove(*paths: Path) -> None:
    """Remove files, and folders with all that is in them, where they are there."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def removed_at_the_end(*paths: Path) -> Iterator[None]:
    """Remove these files or folders, where they are there, after a block, also if `end_at_once` ends the process."""
    _temporary.update(paths)
    try:
        yield
    finally:
        remove(*paths)
        _temporary.difference_update(paths)


@contextmanager
def write_beside(*paths: Path) -> Iterator[list[Path]]:
    """Yield a path beside each of these, to write to; at the end, rename all of them to these, in this order.

    All are on the disk before the first is renamed, so each of these names is either the old or the new file, whole,
    after a kill or a power cut, too. After an error nothing is renamed.
    """
    new = [path.with_name(f"new.{path.name}") for path in paths]  # in front, because Keras goes by the end of a name
    with removed_at_the_end(*new):
        yield new
        for path in new:
            sync(path)
        for source, target in zip(new, paths, strict=True):
            os.replace(source, target)
        for folder in {path.parent for path in paths}:
            sync(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, with the same bytes on every system."""
    with write_beside(path) as (new,):
        new.write_text(text, encoding="utf-8", newline="\n")


def sync(path: Path) -> None:
    """Wait until the disk has this file, or the names in this folder. Windows does so for no file that is only read."""
    if sys.platform != "win32":
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def hold(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from this file or folder, which need not be there, by a lock in a file beside it.

    The lock ends with this process, however that ends: the file that a killed process leaves is in nobody's way. Raises
    BusyError where another process has the lock, or waits for its end. Windows and some file systems cannot lock files
    in this way; there nobody is kept away.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock = path.with_name(f"{path.name}.lock")
    is_ours = False
    while not is_ours:
        with open(lock, "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"{path}: found another process that writes it; expected none. Wait for its end, or choose another "
                    "--out."
                ) from None
            except OSError:
                pass  # a file system without locks
            is_ours = os.fstat(file.fileno()).st_nlink > 0  # or else the other process removed it just now
            if is_ours:
                with removed_at_the_end(lock):
                    yield
