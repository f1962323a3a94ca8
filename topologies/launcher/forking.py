"""python forking.py FD [-m] SCRIPT [ARGS]...: the process that a launch's ranks are forked from.

To import PyTorch takes seconds of a core and a hundred megabytes: here once for all ranks. It imports what the script
says at its top that it imports, of the packages in AHEAD alone; what is imported then is as far as in a fresh process.
Over the socket FD come messages, each asking for a rank (`forks.py`); over it go the rank's process id, and how it
ended. It is started by its file, with nothing of this package but what the script imports. A rank is then what
`python SCRIPT ARGS...` is: `__main__`, sys.argv, sys.path, signals, its end and its trace.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import importlib.machinery
import importlib.util
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

AHEAD = ("numpy", "scipy", "sklearn", "torch", "esa")  # whose import asks nothing of who imports
WITH_TORCH = ("torch.distributed",)
# PyTorch imports its compiler when the first model is wrapped, or the first optimiser made: as much again as its own.
TRAINING, WITH_TRAINING = (b"DistributedDataParallel", b"optim"), ("torch._dynamo",)
JOINING = ("esa.torch", "esa.hosts.ahead")  # what a rank imports that joins its job from PyTorch
NAMESPACES, FILES = Path("/run/netns"), Path("/etc/netns")  # as `topologies.names`, which ranks do not import
_NEW_MOUNTS, _SLAVE, _RECURSIVE, _BIND, _DETACHED, _DEATH_SIGNAL = 0x20000, 1 << 19, 1 << 14, 1 << 12, 2, 1


def main() -> None:
    """Serve, and come back in each process that was forked, as the rank that it is."""
    control, module, command = socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "-m", sys.argv[2:]
    if module:
        command = command[1:]
    os.dup2(2, 1)  # what is said while importing is said to a person
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if module else str(Path(command[0]).resolve().parent)
    for name in _imported_ahead(command[0], module):
        with contextlib.suppress(Exception):  # the script imports it again, and says in each rank what is wrong
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the pages that ranks share stay so
    request = _serve(control)
    _become(request, command, module)


def _imported_ahead(name: str, module: bool) -> Iterator[str]:
    """The modules to import, from the text of the script."""
    try:
        path = _origin(name) if module else name
        text = Path(path).read_bytes()
        tree = ast.parse(text)
    except (ImportError, AttributeError, OSError, ValueError, SyntaxError):  # which each rank will say
        return
    said = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    said += [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    found = [each for each in said if each.partition(".")[0] in AHEAD]
    yield from found
    if any(each.partition(".")[0] == "torch" or each.startswith("esa.torch") for each in found):
        yield from WITH_TORCH
        if any(word in text for word in TRAINING):
            yield from WITH_TRAINING
        if b"esa" in text:  # else it sums over gloo
            yield from JOINING


def _origin(module: str) -> str:
    """The file of a module without its packages' being imported; ImportError or AttributeError if there is none."""
    first, *rest = module.split(".")
    spec = importlib.util.find_spec(first)
    for name in [*rest, "__main__"]:
        if spec is None:
            raise ImportError(module)
        if spec.submodule_search_locations is None:
            break
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    if spec is None or spec.origin is None:
        raise ImportError(module)
    return spec.origin


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork a rank for each message, until the launch ends; returns in that rank, with what it was asked to be."""
    wakes, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    control.send(json.dumps({"ready": True}).encode())
    while True:
        ready, _, _ = select.select([control, wakes], [], [])
        if wakes in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakes, 4096)
            for pid, status in _ended():
                control.send(json.dumps({"pid": pid, "status": status}).encode())
        if control not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not message:  # the launch has closed it, or is gone
            os._exit(0)
        stands, standing = os.pipe()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # Ctrl-C reaches the launch alone
            _libc("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != server:
                os._exit(1)
            os.write(standing, b"1")
            for fd in (stands, standing, wakes, woken):
                os.close(fd)
            control.close()
            return {**json.loads(message), "fds": fds}
        os.close(standing)
        os.read(stands, 1)  # it has a session of its own, whose processes can be told to end
        for fd in (stands, *fds):
            os.close(fd)
        control.send(json.dumps({"forked": pid}).encode())


def _ended() -> Iterator[tuple[int, int]]:
    """Processes that have ended, with their status, negative the signal that ended it."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _become(request: dict[str, Any], command: Sequence[str], module: bool) -> None:
    """Be the rank: its output, its host, its environment, its script."""
    stdout, stderr, *metrics = request["fds"]
    environment = dict(request["environment"])
    for fd, own in ((stdout, 1), (stderr, 2)):
        os.dup2(fd, own)
        os.close(fd)
    if metrics:
        os.set_inheritable(metrics[0], True)
        environment["ESA_METRICS"] = f"fd:{metrics[0]}"
    _enter(request["namespace"])
    os.environ.update(environment)
    random: Any = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # else all ranks would draw the same; Python's own seeds itself
    sys.argv[:] = command
    own = ModuleType("__main__")
    vars(own).update(__builtins__=__builtins__, __annotations__={})
    sys.modules["__main__"] = own
    _as_main((lambda: _run_module(command[0])) if module else (lambda: _run_script(command[0], own)))


def _enter(namespace: str) -> None:
    """As `ip netns exec` does: the network namespace, its /sys, and its files in the place of those in /etc."""
    here = os.getcwd()
    with (NAMESPACES / namespace).open("rb") as file:
        _libc("setns", file.fileno(), 0)
    _libc("unshare", _NEW_MOUNTS)
    _libc("mount", b"", b"/", b"none", _SLAVE | _RECURSIVE, None)
    _libc("umount2", b"/sys", _DETACHED)
    _libc("mount", os.fsencode(namespace), b"/sys", b"sysfs", 0, None)
    for path in sorted((FILES / namespace).iterdir()) if (FILES / namespace).is_dir() else ():
        _libc("mount", os.fsencode(path), os.fsencode(Path("/etc", path.name)), b"none", _BIND, None)
    os.chdir(here)


def _libc(name: str, *arguments: Any) -> None:
    converted = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*converted) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _run_script(script: str, own: Any) -> None:
    path = os.path.abspath(script)
    with io.open_code(path) as file:
        text = file.read()
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    vars(own).update(__file__=path, __cached__=None, __spec__=None, __package__=None, __loader__=loader)
    exec(compile(text, path, "exec", dont_inherit=True), vars(own))


def _run_module(name: str) -> None:
    run: Any = runpy
    run._run_module_as_main(name)  # what `python -m` itself calls


def _as_main(run: Callable[[], None]) -> None:
    """What ends the script ends this process as it would end Python, and its trace begins with the script."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        runs: Any = runpy
        ours = (__file__, runs._run_module_as_main.__code__.co_filename)
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in ours:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.excepthook = lambda *_: None  # it is said; the interpreter does the rest
        raise


if __name__ == "__main__":
    main()
