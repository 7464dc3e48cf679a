"""The download of MNIST: what a server, or none, can do, how long it takes, and what is left of it."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cvae_lib.data import DataError, load_full, load_mnist, mnist


@pytest.fixture
def serve(cache, monkeypatch):
    """Answer the download by calling `respond(handler, stopped)`; returns the list of the paths asked for."""
    servers, stopped = [], threading.Event()

    def start(respond):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                try:
                    respond(self, stopped)
                except OSError:
                    pass  # the client has gone

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(mnist, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
        return asked

    yield start
    stopped.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler, content, length=None, **headers):
    """Answer with this content. length: what the header says instead; 0 for no such header."""
    handler.send_response(200)
    if length != 0:
        headers["Content-Length"] = length or len(content)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(content)


def send_slowly(handler, stopped, content, pause):
    """Send these pieces with pauses, at most for 15 seconds, longer than a test lets a download take."""
    handler.send_response(200)
    handler.end_headers()
    for piece in content:
        if stopped.wait(pause):
            break
        handler.wfile.write(piece)


def redirect(handler, stopped):
    handler.send_response(302)
    handler.send_header("Location", handler.path + "x")
    handler.end_headers()


def hang_up(handler, stopped):
    handler.connection.shutdown(socket.SHUT_RDWR)


ZEROS = bytes(10**7)
BOMB = gzip.compress(bytes(10**8))  # larger than the file that is pretended to be MNIST, even as it is

# What the server does, and what the message then says.
FAILURES = {
    "wrong file": (lambda handler, stopped: send(handler, b"PK not MNIST"), "12 bytes of "),
    "a page": (lambda handler, stopped: send(handler, b"<!doctype html>Log in first."), " bytes of "),
    "not found": (lambda handler, stopped: handler.send_error(404), "HTTPError"),
    "server error": (lambda handler, stopped: handler.send_error(500), "HTTPError"),
    "no HTTP": (lambda handler, stopped: handler.wfile.write(b"\x00\xff" * 1000), "Error"),
    "hangs up": (hang_up, "Error"),
    "cut off": (lambda handler, stopped: send(handler, b"PK", length=1000), "Error"),
    "says too short a length": (lambda handler, stopped: send(handler, bytes(10**6), length=7), "7 bytes of "),
    "too long": (lambda handler, stopped: send(handler, ZEROS, length=0), "more than "),
    "a bomb": (
        lambda handler, stopped: send(handler, BOMB, Content_Encoding="gzip"),
        "more than ",
    ),
    "redirects for ever": (redirect, ""),
    "redirects to a file": (
        lambda handler, stopped: (
            handler.send_response(302),
            handler.send_header("Location", "file:///etc/passwd"),
            handler.end_headers(),
        ),
        "InvalidSchema",
    ),
    "never answers": (lambda handler, stopped: stopped.wait(15), ""),
    "drips for ever": (lambda handler, stopped: send_slowly(handler, stopped, [b"PK"] * 750, 0.02), "bytes in "),
    "stops half way": (
        lambda handler, stopped: send_slowly(handler, stopped, [bytes(10_000), *[b""] * 750], 0.02),
        "",
    ),
}


@pytest.fixture
def quick(monkeypatch):
    """A file of some kilobytes has to come at a pace of its own."""
    monkeypatch.setattr(mnist, "DOWNLOAD_SECONDS", 5)
    monkeypatch.setattr(mnist, "BLOCK", 2**14)


@pytest.mark.parametrize("keras_home", [False, True])
def test_mnist_is_downloaded_once_into_keras_cache(
    cache, serve, pretended, raw, check_holds, tmp_path, monkeypatch, capsys, keras_home
):
    asked = serve(lambda handler, stopped: send(handler, pretended))
    if keras_home:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
        cache = tmp_path / "elsewhere" / "datasets" / "mnist.npz"
    for choice in (None, "full"):
        digits = load_mnist(choice)
        check_holds(digits, raw)
        assert digits.edition == "full" and digits.source == str(cache)
    assert cache.read_bytes() == pretended
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]
    assert asked == ["/mnist.npz"]
    out, err = capsys.readouterr()
    assert out == "" and err == f"Downloading MNIST, 0 MB, to {cache}. CVAE_DATA=sample does without it.\n"


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_is_explained_and_the_next_one_recovers(cache, serve, pretended, quick, raw, failure):
    """It is given up soon, its bytes never fill the memory, and it leaves no file, even after one that was killed."""
    respond, found = FAILURES[failure]
    serve(respond)
    cache.parent.mkdir(parents=True)
    cache.with_name("mnist.npz.new").write_bytes(bytes(100))
    started = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        load_full()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - started < 4
    assert peak < 5e6
    message = str(caught.value)
    for part in (f"{cache}: found no file", found, f"expected {mnist.MNIST_URL}", "set CVAE_DATA to sample"):
        assert part in message, message
    assert list(cache.parent.iterdir()) == []
    serve(lambda handler, stopped: send(handler, pretended))
    assert load_full().edition == "full"


def test_a_file_of_the_right_length_is_compared(cache, serve, pretended):
    serve(lambda handler, stopped: send(handler, pretended[:-1] + b"?"))
    with pytest.raises(DataError, match="another SHA-256"):
        load_full()
    assert list(cache.parent.iterdir()) == []


def test_what_a_killed_run_left_is_overwritten(cache, serve, pretended):
    cache.parent.mkdir(parents=True)
    cache.with_name("mnist.npz.new").write_bytes(bytes(2 * len(pretended)))
    serve(lambda handler, stopped: send(handler, pretended))
    load_full()
    assert [path.name for path in cache.parent.iterdir()] == ["mnist.npz"]
    assert cache.read_bytes() == pretended


def test_another_run_may_be_the_first(cache, serve, pretended, monkeypatch):
    """It renames the file that both write."""
    rename = os.replace

    def be_late(source, target):
        rename(source, target)
        return rename(source, target)

    monkeypatch.setattr(os, "replace", be_late)
    serve(lambda handler, stopped: send(handler, pretended))
    assert load_full().edition == "full"


def test_a_slow_download_may_take_its_time(cache, serve, pretended, quick):
    """As long as its pace lets it end within the whole time, long after the time in which it had to start."""
    pieces = [pretended[start : start + 1024] for start in range(0, len(pretended), 1024)]
    serve(lambda handler, stopped: send_slowly(handler, stopped, pieces, 1.5 / len(pieces)))
    started = time.perf_counter()
    assert load_full().edition == "full"
    assert time.perf_counter() - started > 1


def test_a_host_with_many_dead_addresses_is_given_up_as_soon(cache, monkeypatch, capsys):
    """Each address alone swallows what is sent to it, for as long as one connection may take."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(3)]  # no room is left for another connection
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: [address] * 16)
        monkeypatch.setattr(mnist, "MNIST_URL", "http://nobody.invalid/mnist.npz")
        before, started = set(threading.enumerate()), time.perf_counter()
        assert load_mnist().edition == "sample"
        assert 0.5 < time.perf_counter() - started < 4  # and not 8
        new = set(threading.enumerate()) - before
        assert new and all(thread.daemon for thread in new), "Python would wait for the other addresses at its end"
        for one in waiting:
            one.close()
    tried, used = capsys.readouterr().err.splitlines()
    assert "Downloading MNIST, 11 MB" in tried and "0 bytes in" in used and "sample" in used


@pytest.mark.parametrize("failure", [None, "not found"])
def test_without_mnist_the_sample_is_used_and_lines_say_so(cache, serve, capsys, failure):
    if failure:
        serve(FAILURES[failure][0])
    digits = load_mnist()
    out, err = capsys.readouterr()
    assert digits.edition == "sample" and not cache.exists()
    tried, used = err.splitlines()
    assert out == "" and "Downloading" in tried and "sample" in used and "CVAE_DATA" in used


def test_a_download_that_is_killed_leaves_no_file(cache, serve, tmp_path):
    """It is stopped while the bytes arrive."""
    arriving = threading.Event()

    def respond(handler, stopped):
        send(handler, bytes(10**6), length=mnist.MNIST_FILE_BYTES)
        arriving.set()
        stopped.wait(15)

    serve(respond)
    code = f"from cvae_lib.data import mnist; mnist.MNIST_URL = {mnist.MNIST_URL!r}; mnist.load_full()"
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=settings, stderr=subprocess.PIPE)
    assert arriving.wait(60) and b"Downloading MNIST" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert list(cache.parent.iterdir()) == []
