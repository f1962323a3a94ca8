"""What forked processes call in tests."""

from __future__ import annotations

import os
import sys
import time


def describe(number: int) -> None:
    """Say where this is, then echo a line."""
    interfaces = ",".join(sorted(os.listdir("/sys/class/net")))
    print(number, os.environ["GREETING"], interfaces, os.getsid(0) == os.getpid(), flush=True)
    print(sys.stdin.readline(), end="", flush=True)


def fail() -> None:
    raise ValueError("no such thing")


def answer() -> int:
    print("said")
    return 3


def stay() -> None:
    time.sleep(60)
