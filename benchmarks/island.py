"""Network namespace of a benchmark's processes, as of a machine of their own whose cable can be pulled.

Then packets are lost and nobody is told, where a forwarder would end its connections.
"""

import os
import secrets
import subprocess
from typing import Final

_NETS: Final = 250  # of which one is chosen by chance, for each cable


def may_be_made() -> bool:
    """Whether namespaces may be made here."""
    name = f"attune-{secrets.token_hex(3)}"
    try:
        if os.geteuid() != 0 or subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
            return False
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=True)
    except OSError:
        return False
    return True


class Island:
    """A namespace with two cables to this machine: one to the servers, which can be pulled, and one to whoever asks it.

    Attributes
    ----------
    servers
        Address at which servers of this machine are reached from within.
    address
        Address at which what listens within is reached from here.
    enter
        Words before a command that is to run within.
    """

    def __init__(self) -> None:
        token = secrets.token_hex(3)
        self._name = f"attune-{token}"
        self.enter = ["ip", "netns", "exec", self._name]
        self._run("netns", "add", self._name)
        self._run("-n", self._name, "link", "set", "lo", "up")
        self._cable = f"as{token}"
        self.servers, _ = self._join(self._cable)
        _, self.address = self._join(f"aq{token}")

    def _join(self, cable: str) -> tuple[str, str]:
        """Join both by a cable; the addresses of its ends."""
        net = f"10.{secrets.randbelow(_NETS) + 2}.{secrets.randbelow(_NETS)}"
        here, there = f"{net}.1", f"{net}.2"
        self._run("link", "add", cable, "type", "veth", "peer", "name", "far", "netns", self._name)
        self._run("-n", self._name, "link", "set", "far", "name", f"{cable}b")
        self._run("addr", "add", f"{here}/30", "dev", cable)
        self._run("-n", self._name, "addr", "add", f"{there}/30", "dev", f"{cable}b")
        self._run("link", "set", cable, "up")
        self._run("-n", self._name, "link", "set", f"{cable}b", "up")
        return here, there

    def cut(self) -> None:
        """Pull the cable to the servers."""
        self._run("link", "set", self._cable, "down")

    def mend(self) -> None:
        """Plug it in again."""
        self._run("link", "set", self._cable, "up")

    def close(self) -> None:
        """Take the namespace away, and its cables with it."""
        self._run("netns", "del", self._name)

    @staticmethod
    def _run(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)
