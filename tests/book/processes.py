"""JupyterLab as tests start it, wait for it, and end it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

START_SECONDS = 90


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(ask, seconds, what):
    """Ask until the answer is true, twice a second; fail, naming what was waited for, after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {seconds} seconds")


@contextmanager
def run_jupyterlab(root, folder):
    """Run a JupyterLab on the folder `root`, with its settings in `folder`: its address. Its processes end with it."""
    port = free_port()
    places = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="]
    command += ["--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(folder / "lab.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={root}"],
            env={**os.environ, **places, "CVAE_DATA": "sample"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert server.poll() is None, (folder / "lab.log").read_text(encoding="utf-8")[-2000:]
        try:
            return urllib.request.urlopen(f"{address}/api/status", timeout=5).status == 200
        except OSError:
            return False

    try:
        wait_for(answers, START_SECONDS, "JupyterLab answers")
        yield address
    finally:
        stop(server)


def stop(server):
    """End the server, which ends its kernels on SIGTERM; a kernel whose server was killed ends by itself."""
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
