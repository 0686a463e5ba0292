"""A private Docker daemon: own data, socket and networks, so that a test may kill it."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import docker
from docker.errors import DockerException

_PATIENCE_SECONDS = 90.0


class PrivateDockerd:
    """A daemon below one directory; used as a context manager, which removes all of it.

    Its networks are bridges of its own without rules in the host's packet filter: published ports go
    through Docker's userland proxy, on loopback. Its containerd is a process beside it, as on a host
    where each is a service of its own: it outlives a kill of the daemon.
    """

    def __init__(self, root: Path) -> None:
        """Keep everything below ``root``, which must be on a disk with room for the images."""
        self.root = root
        # A Unix socket's path must be short.
        self._run = Path(tempfile.mkdtemp(prefix="dr-dockerd-", dir="/tmp"))
        self.host = f"unix://{self._run / 'docker.sock'}"
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon and wait until it answers."""
        config = self._run / "containerd.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        words = [
            *("containerd", f"--config={config}", f"--address={self._run / 'containerd.sock'}"),
            *(f"--root={self.root / 'containerd'}", f"--state={self._run / 'containerd'}"),
        ]
        self._containerd = self._begin(words)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the daemon, and remove what it had."""
        client = self.client()
        for container in client.containers.list(all=True):
            container.remove(force=True, v=True)
        client.close()
        self._end(signal.SIGTERM)
        if self._containerd is not None:
            self._containerd.terminate()
            self._containerd.wait(_PATIENCE_SECONDS)
        for mount in _mounts_below(self.root, self._run):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        for path in (self.root, self._run):
            subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=False, capture_output=True)

    def start(self) -> None:
        """Start the daemon; what it had before a kill is there again."""
        words = [
            "dockerd",
            f"--data-root={self.root}",
            f"--exec-root={self._run / 'exec'}",
            f"--host={self.host}",
            f"--containerd={self._run / 'containerd.sock'}",
            f"--pidfile={self._run / 'docker.pid'}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=true",
            "--default-address-pool=base=10.213.0.0/16,size=24",
        ]
        self._process = self._begin(words)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._run / "dockerd.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the private daemon does not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill the daemon with SIGKILL; its containerd and its containers go on."""
        self._end(signal.SIGKILL)

    def client(self) -> docker.DockerClient:
        """Return a client of the daemon."""
        return docker.DockerClient(base_url=self.host, timeout=600)

    def load(self, images: list[str]) -> None:
        """Copy images from the engine of the host."""
        host = docker.from_env(timeout=600)
        saving = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        loading = ["docker", "--host", self.host, "load", "--quiet"]
        subprocess.run(loading, stdin=saving.stdout, check=True, stdout=subprocess.DEVNULL)
        assert saving.wait() == 0
        host.close()

    def _begin(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self._run / "dockerd.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            client = self.client()
            client.ping()
            client.close()
        except DockerException:
            return False
        return True

    def _end(self, how: int) -> None:
        process = self._process
        if process is None:
            return
        os.kill(process.pid, how)
        process.wait(_PATIENCE_SECONDS)
        self._process = None


def _mounts_below(*roots: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line.split()[4] for line in lines]
    return sorted((m for m in found if any(Path(m).is_relative_to(root) for root in roots)), reverse=True)
