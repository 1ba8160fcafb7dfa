# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Networks for the tests: nodes in network namespaces of their own, and scissors.

            hub: the test, its browsers, the balancers
             |                         |
      bridge "front"              bridge "back"        as many more bridges as a split has parts
       |    |    |                 |    |    |
       n1   n2   n3                n1   n2   n3

Browsers and balancers reach the nodes' HTTP service over "front", which is never cut: so a test can
ask a node that is cut off from the others. The cluster's own traffic goes over "back".

Whoever loses something here hears nothing about it: a port is taken off its bridge while its link
stays up, or a neighbour's address is bound to a MAC that nobody has. Both need nothing of the
kernel but bridges and veth."""

import atexit
import ctypes
import os
import subprocess
import uuid

CLONE_NEWNET = 0x40000000
RUN = "/run/netns"
PREFIX = "sc-e2e-"
NOBODY = "02:5c:00:00:00:01"  # a MAC that no interface has


class NoNamespaces(Exception):
    """This machine does not let us make network namespaces."""


def _ip(*args, check=True):
    try:
        done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    except OSError as e:
        raise NoNamespaces(f"ip of iproute2 does not run: {e}") from None
    if check and done.returncode:
        raise NoNamespaces(f"ip {' '.join(args)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _enter(path):
    """Only the calling thread and what it starts from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise NoNamespaces(f"setns({path}): {os.strerror(error)}")
    finally:
        os.close(fd)


def _sweep():
    """Remove what a test run left behind that was killed."""
    try:
        names = os.listdir(RUN)
    except OSError:
        return
    for name in names:
        pid = name[len(PREFIX):].partition("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            _ip("netns", "del", name, check=False)


class Place:
    """Where one httpd lives."""

    def __init__(self, name, namespace, front, back, port=None):
        self.name = name
        self.namespace = namespace  # None: the hub, where the test is anyway
        self.front = front          # its addresses
        self.back = back
        self.port = port            # the bridge's side of its link to "back"

    @property
    def command(self):
        """What to put in front of a command so that it runs there."""
        return ["nsenter", f"--net={RUN}/{self.namespace}", "--"] if self.namespace else []


def _places(things):
    """Places, or nodes that have one."""
    return [getattr(t, "place", None) or t for t in things]


class Lab:
    """with Lab() as lab: from here on this thread, and what it starts, is in the hub."""

    def __init__(self):
        self.mark = f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.namespaces = []
        self.places = []
        self.bridges = 1
        self.silenced = []  # (namespace, address): what they send there gets lost
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.inside = False
        try:
            if os.geteuid() != 0:
                raise NoNamespaces("only root may make network namespaces")
            _sweep()
            atexit.register(self.close)
            self.hub_namespace = self._namespace("hub")
            for name, address in (("front", "10.77.0.1"), ("back", "10.78.0.1")):
                self._bridge(name)
                _ip("-n", self.hub_namespace, "addr", "add", f"{address}/24", "dev", name)
        except BaseException:
            self.close()
            raise
        self.hub = Place("hub", None, "10.77.0.1", "10.78.0.1")

    def __enter__(self):
        _enter(f"{RUN}/{self.hub_namespace}")
        self.inside = True
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Back to where the test came from; all that was made here is removed."""
        atexit.unregister(self.close)
        if self.inside:
            _enter(f"/proc/self/fd/{self.home}")
            self.inside = False
        if self.home >= 0:
            os.close(self.home)
            self.home = -1
        for name in self.namespaces:
            _ip("netns", "del", name, check=False)
        self.namespaces = []

    # -- building

    def _namespace(self, name):
        full = f"{self.mark}-{name}"
        _ip("netns", "add", full)
        self.namespaces.append(full)
        _ip("-n", full, "link", "set", "lo", "up")
        return full

    def _bridge(self, name):
        _ip("-n", self.hub_namespace, "link", "add", name, "type", "bridge", "stp_state", "0",
            "forward_delay", "0")
        # no querier: without this some kernels keep multicast from ports
        _ip("-n", self.hub_namespace, "link", "set", name, "type", "bridge", "mcast_snooping",
            "0", check=False)
        _ip("-n", self.hub_namespace, "link", "set", name, "up")

    def place(self, name):
        """A new namespace with a link to each of the two networks."""
        number = len(self.places) + 11
        namespace = self._namespace(name)
        hub = self.hub_namespace
        for net, prefix in (("front", "10.77.0"), ("back", "10.78.0")):
            port = f"{net[0]}{number}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", net, "netns",
                namespace)
            _ip("-n", hub, "link", "set", port, "master", net, "up")
            _ip("-n", namespace, "addr", "add", f"{prefix}.{number}/24", "dev", net)
            _ip("-n", namespace, "link", "set", net, "up")
        _ip("-n", namespace, "route", "add", "224.0.0.0/4", "dev", "back")
        made = Place(name, namespace, f"10.77.0.{number}", f"10.78.0.{number}", f"b{number}")
        self.places.append(made)
        return made

    def inside_of(self, place, function):
        """Call it in a place's network; sockets that it makes stay there."""
        _enter(f"{RUN}/{place.namespace}")
        try:
            return function()
        finally:
            _enter(f"{RUN}/{self.hub_namespace}")

    def borrow(self, place, other):
        """In this place the other one's address is its own: whoever connects there stays inside. It
        does not answer for it outside."""
        def answer_for_own_only():
            with open("/proc/sys/net/ipv4/conf/all/arp_ignore", "w", encoding="ascii") as f:
                f.write("1")
        self.inside_of(place, answer_for_own_only)
        _ip("-n", place.namespace, "addr", "add", f"{other.back}/32", "dev", "lo")

    # -- cutting: all of these are about "back"

    def cut(self, *things):
        """These can send to nobody and hear nobody; their links stay up."""
        for one in _places(things):
            _ip("-n", self.hub_namespace, "link", "set", one.port, "nomaster")

    def unplug(self, *things):
        """The same by pulling the cable: the kernel notices."""
        for one in _places(things):
            _ip("-n", self.hub_namespace, "link", "set", one.port, "down")

    def mute(self, one, *to):
        """What this one sends to those gets lost; what they send arrives. (Multicast goes on.)"""
        (one,) = _places([one])
        for other in _places(to):
            namespace = one.namespace or self.hub_namespace
            _ip("-n", namespace, "neigh", "replace", other.back, "lladdr", NOBODY, "nud",
                "permanent", "dev", "back")
            self.silenced.append((namespace, other.back))

    def sever(self, one, *others):
        """These do not reach each other, in both directions."""
        self.mute(one, *others)
        for other in others:
            self.mute(other, one)

    def split(self, *groups):
        """Each group has a network of its own. The hub is with the first one."""
        for number, group in enumerate(groups):
            name = f"back{number}" if number else "back"
            if number >= self.bridges:
                self._bridge(name)
                self.bridges += 1
            for one in _places(group):
                _ip("-n", self.hub_namespace, "link", "set", one.port, "master", name)

    def heal(self):
        """Everybody reaches everybody again."""
        for one in self.places:
            _ip("-n", self.hub_namespace, "link", "set", one.port, "master", "back", "up")
        for namespace, address in self.silenced:
            _ip("-n", namespace, "neigh", "del", address, "dev", "back", check=False)
        self.silenced = []

    def groups(self, one, address):
        """Interfaces on which somebody there is in the IPv4 group."""
        (one,) = _places([one])
        text = subprocess.run(one.command + ["cat", "/proc/net/igmp"], capture_output=True,
                              text=True, check=True).stdout
        wanted = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
        found, device = set(), None
        for line in text.splitlines()[1:]:
            words = line.split()
            if not line[0].isspace():
                device = words[1]
            elif words[0] == wanted:
                found.add(device)
        return found

    def remove(self, one):
        """The interface itself goes away: its addresses, routes and groups with it."""
        (one,) = _places([one])
        _ip("-n", one.namespace, "link", "del", "back")

    def bring_back(self, one):
        """Another interface with the name and the addresses of the one that was removed."""
        (one,) = _places([one])
        hub = self.hub_namespace
        _ip("-n", hub, "link", "add", one.port, "type", "veth", "peer", "name", "back", "netns",
            one.namespace)
        _ip("-n", hub, "link", "set", one.port, "master", "back", "up")
        _ip("-n", one.namespace, "addr", "add", f"{one.back}/24", "dev", "back")
        _ip("-n", one.namespace, "link", "set", "back", "up")
        _ip("-n", one.namespace, "route", "add", "224.0.0.0/4", "dev", "back")
