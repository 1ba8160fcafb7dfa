# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A headless Chromium, told what to do over the DevTools protocol on a pair of pipes.

Only loopback is reached: everything that a browser does by itself in the background is switched
off, and names other than 127.0.0.1 lead nowhere."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
         "--remote-debugging-pipe"]
PHONE, DESK = (375, 812), (1280, 900)


def high_pipe():
    """Descriptors that are not in the way of 3 and 4, where Chromium looks for its orders."""
    ends = []
    for fd in os.pipe():
        ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(fd)
    return ends


class Browser:
    """One browser with one page. `errors`: what it has complained about on its console."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, f"chromium-{os.urandom(4).hex()}")
        os.makedirs(self.folder)
        theirs_in, self.out = high_pipe()
        self.inp, theirs_out = high_pipe()
        self.proc = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", CHROMIUM, *FLAGS,
             f"--user-data-dir={self.folder}", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        self.serial = 0
        self.buffer = b""
        self.events = []
        self.errors = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    # -- the protocol

    def read(self, until):
        """One message."""
        while b"\0" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.inp], [], [], left)[0]:
                raise AssertionError("the browser does not answer")
            more = os.read(self.inp, 1 << 16)
            if not more:
                raise AssertionError("the browser has ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(str(params["args"]))
        self.events.append(method)

    def call(self, method, timeout=60.0, **params):
        self.serial += 1
        message = {"id": self.serial, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout
        while True:
            answer = self.read(until)
            if answer.get("id") == self.serial:
                assert "error" not in answer, answer
                return answer["result"]
            self.note(answer)

    def wait_event(self, name, timeout=60.0):
        until = time.monotonic() + timeout
        while name not in self.events:
            self.note(self.read(until))

    # -- what a user does

    def look(self, size=DESK, dark=False):
        """How large the window is, and whether its user likes it dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                  deviceScaleFactor=1, mobile=size[0] < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def go(self, url):
        self.events = []
        self.errors = []
        self.call("Page.navigate", url=url)
        self.wait_event("Page.loadEventFired")

    def click(self, selector):
        """Click on what leads to another page."""
        self.events = []
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait_event("Page.loadEventFired")

    def run(self, script):
        """The value of an expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self):
        return self.run("document.body.innerText")

    def screenshot(self, path, clip=None):
        """All of the page, or clip: (y, height) of it."""
        extra = {"clip": {"x": 0, "y": clip[0], "width": self.run("innerWidth"), "height": clip[1],
                          "scale": 1}} if clip else {}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, **extra)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        try:
            os.write(self.out, b'{"id":0,"method":"Browser.close"}\0')
            self.proc.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            os.killpg(self.proc.pid, 9)
            self.proc.wait(10)
        os.close(self.out)
        os.close(self.inp)
        shutil.rmtree(self.folder, ignore_errors=True)
