"""A private Docker daemon: own data, socket and networks, so that a test may kill it."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import docker

_PATIENCE_SECONDS = 90.0


class PrivateDockerd:
    """A daemon below one directory; used as a context manager, which removes all of it.

    Its networks are bridges of its own, and it leaves the host's packet filter alone: published ports go
    through Docker's userland proxy, on loopback. The host's own daemon lets nothing pass between bridges
    that it does not know, so one rule lets pass what stays within one bridge.
    Its containerd is a process beside it, as on a host where each is a service of its own: it outlives a
    kill of the daemon.
    """

    def __init__(self, root: Path) -> None:
        """Keep everything below ``root``, which must be on a disk with room for the images."""
        self.root = root
        # A Unix socket's path must be short.
        self._run = Path(tempfile.mkdtemp(prefix="dr-dockerd-", dir="/tmp"))
        self._bridge = f"dr-{secrets.token_hex(4)}"
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
        # Beside the host's own bridge; its loopback ports are served by Docker's proxy.
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"10.214.{os.getpid() % 250}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        _among_its_own("--insert")
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
        _ip("link", "delete", self._bridge)
        _among_its_own("--delete")
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
            f"--bridge={self._bridge}",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=true",
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
        loading = ["docker", "--host", self.host, "load", "--quiet"]
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            subprocess.run(loading, stdin=saving.stdout, check=True, stdout=subprocess.DEVNULL)
        assert saving.returncode == 0

    def _begin(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self._run / "dockerd.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        asked = subprocess.run(["docker", "--host", self.host, "version"], check=False, capture_output=True)
        return asked.returncode == 0

    def _end(self, how: int) -> None:
        process = self._process
        if process is None:
            return
        os.kill(process.pid, how)
        process.wait(_PATIENCE_SECONDS)
        self._process = None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _among_its_own(how: str) -> None:
    # No address pool of its own says which traffic that is: a daemon that is given one removes the host's
    # docker0 when it starts again (moby, daemon_unix.go, removeDefaultBridgeInterface).
    words = ["iptables", how, "FORWARD", "-m", "physdev", "--physdev-is-bridged", "--jump", "ACCEPT"]
    subprocess.run(words, check=True, capture_output=True)


def _mounts_below(*roots: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line.split()[4] for line in lines]
    return sorted((m for m in found if any(Path(m).is_relative_to(root) for root in roots)), reverse=True)
