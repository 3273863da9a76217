"""Two hosts on one machine, joined by cables that can be pulled.

Each has a network, a host name, System V IPC, a /dev/shm and an /etc/hosts of its own;
the second one's processes are its own, too, so no rank can open what belongs to a rank
of the other host (csrc/segment.c would, through /proc). They share the file system, as
the hosts of a cluster do. It takes root, and Linux's namespaces.

    node1 ---cable--- switch ---cable--- node2
    10.77.0.1                        10.77.0.2

A namespace lives as long as the process that holds it, and that dies with this one: so
nothing is left however the tests end.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ["node1", "node2"]
NET = "10.77.0.%d"
OWN = ["--net", "--uts", "--ipc", "--mount"]  # options of unshare and of nsenter
PR_SET_PDEATHSIG = 1

# What a host's first process does, before it only holds the namespaces. The /proc of
# the machine stays in sight, for rank.sh.
BOOT = """
set -e
read pid rest </proc/self/stat
hostname "$1"
mount -t tmpfs tmpfs /dev/shm
mount --bind "$2/hosts" /etc/hosts
mount -t sysfs sysfs /sys
mount --bind /proc "$2/proc"
mount -t proc proc /proc
ip link set lo up
echo "$pid"
exec sleep infinity
"""
SWITCH = """
set -e
ip link add bridge type bridge
ip link set bridge up
echo $$
exec sleep infinity
"""

# In place of ssh, which launchers start as: ssh [OPTION...] HOST COMMAND.  As there,
# the words make one line for a shell, which gets no variables from here; but for what
# tests know their processes by, and where launchers put files (see launch.py). And as
# there the code is 255 where a signal ended the command, or the host, and does not come
# through a cable that is pulled. At SIGTERM it takes the connection for lost.
SSH = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
cd '%(directory)s'
trap 'exit 255' TERM
holder=$(cat "$host")
nsenter --target "$holder" %(own)s --pid \\
    env -i PATH="$PATH" HOME="$HOME" TMPDIR="$TMPDIR" \\
    EZMPI_TEST_JOB="$EZMPI_TEST_JOB" sh -c "$*" <&0 &
wait $!
code=$?
while [ -e "$host.pulled" ]; do sleep 0.1; done
[ "$code" -le 128 ] && kill -0 "$holder" 2>/dev/null || exit 255
exit "$code"
"""


def why_not():
    """Why there can be no two hosts here; "" if there can be."""
    if not sys.platform.startswith("linux"):
        return "two hosts are made of Linux's namespaces"
    if os.geteuid() != 0:
        return "two hosts take root, to make namespaces"
    missing = [name for name in ("ip", "unshare", "nsenter") if not shutil.which(name)]
    if missing:
        return "two hosts take %s (iproute2, util-linux)" % ", ".join(missing)
    tried = subprocess.run(
        ["unshare", *OWN, "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    if tried.returncode != 0:
        return "two hosts: no namespaces here: " + tried.stderr.strip()
    return ""


class Host:
    """A name on the network, and the process that holds its namespaces."""

    def __init__(self, name, pid, network, pulled):
        self.name = name
        self.pid = pid  # of its first process, as the machine has it
        self._net = os.stat("/proc/%d/ns/net" % pid).st_ino
        self._network = network
        self._pulled = pulled  # a file, where it is

    def command(self, command, directory="/"):
        """The command as one that runs on this host, among the machine's processes."""
        enter = ["nsenter", "--target", str(self.pid), *OWN, "--"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(directory), *command]

    def pull(self):
        """Pull this host's cable: out of the switch, so nobody else's goes down."""
        self._pulled.touch()
        self._network.switch("ip", "link", "set", self.name, "down")

    def plug(self):
        self._network.switch("ip", "link", "set", self.name, "up")
        self._pulled.unlink()

    def runs(self, pid):
        """Whether that process, by its number on the machine, is one of this host."""
        try:
            return os.stat("/proc/%d/ns/net" % pid).st_ino == self._net
        except OSError:
            return False

    def set(self, name, value):
        """A setting of its kernel's network, as ``net.ipv4.tcp_retries2``."""
        path = Path("/proc/sys", *name.split("."))
        run(self.command(["sh", "-c", 'echo "$0" >"$1"', str(value), str(path)]))

    def kill(self):
        """End all of its own processes at once. Its network says that they have ended."""
        os.kill(self.pid, signal.SIGKILL)


class TwoHosts:
    """A context manager: ``with TwoHosts() as hosts: hosts[1].pull()``.

    Attributes
    ----------
    ssh : str
        What launchers may take for ssh; it knows these hosts.
    proc : str
        Where each host sees the processes of the machine.
    """

    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="hosts-"))
        self._holders = []
        self._hosts = []
        self.ssh = str(self._directory / "ssh")
        self.proc = str(self._directory / "proc")

    def __getitem__(self, at):
        return self._hosts[at]

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Takes the hosts down; what still runs on the second ends."""
        for holder in self._holders:
            holder.kill()
            holder.wait()
            holder.stdout.close()
            holder.stderr.close()
        self._holders = []
        shutil.rmtree(str(self._directory), ignore_errors=True)

    def switch(self, *command):
        run(["nsenter", "--target", str(self._switch), "--net", *command])

    def _make(self):
        listed = ["127.0.0.1 localhost"]
        listed += [NET % (i + 1) + " " + name for i, name in enumerate(NAMES)]
        (self._directory / "hosts").write_text("\n".join(listed) + "\n")
        (self._directory / "proc").mkdir()
        Path(self.ssh).write_text(
            SSH % {"directory": self._directory, "own": " ".join(OWN)}
        )
        os.chmod(self.ssh, 0o755)
        self._switch = self._hold(["--net"], SWITCH)
        self._hosts = [self._add(i, name) for i, name in enumerate(NAMES)]

    def _add(self, at, name):
        own = OWN + (["--pid", "--fork", "--kill-child"] if at > 0 else [])
        pid = self._hold(own, BOOT, name, str(self._directory))
        (self._directory / name).write_text("%d\n" % pid)
        link = "ip link add %s type veth peer name eth0 netns %d" % (name, pid)
        self.switch(*link.split())
        self.switch("ip", "link", "set", name, "master", "bridge", "up")
        host = Host(name, pid, self, self._directory / (name + ".pulled"))
        address = NET % (at + 1) + "/24"
        run(host.command(["ip", "address", "add", address, "dev", "eth0"]))
        run(host.command(["ip", "link", "set", "eth0", "up"]))
        return host

    def _hold(self, own, script, *args):
        """Start a process that holds namespaces; returns its number once it does."""
        holder = subprocess.Popen(
            ["unshare", *own, "sh", "-c", script, "holder", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            preexec_fn=_die_with_parent,
        )
        self._holders.append(holder)
        said = holder.stdout.readline()
        if not said:
            raise OSError("no host was made: " + holder.stderr.read())
        return int(said)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command):
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise OSError("%s: %s" % (" ".join(command), done.stdout.strip()))
