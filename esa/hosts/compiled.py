"""Whether both engines are compiled for this machine; to ask that imports neither of them."""

from __future__ import annotations

from pathlib import Path

from esa.native_cache import native_folder


def is_compiled() -> bool:
    return done_file().exists()


def done_file() -> Path:
    """What `esa.hosts.warm` leaves once they are."""
    return native_folder(Path(__file__).resolve().with_name("warm.py")) / "warm.done"
