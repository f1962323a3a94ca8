"""Folders of results."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from esa.errors import BadInput


class FolderError(BadInput):
    """A folder that cannot be made; one line."""


def make_folder(folder: Path) -> Path:
    """Make a folder of results, unless it is there. FolderError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"results: cannot make the folder {folder}: {error.strerror}") from None
    return folder


def new_folder(results: Path, name: str) -> Path:
    """Make results/NAME-DATE-TIME, numbered if there is one already. FolderError."""
    make_folder(results)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        folder = results / f"{name}-{stamp}{suffix}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FolderError(f"results: {results} holds a thousand runs of this second")


def give_to_caller(folder: Path) -> None:
    """Under sudo, the results belong to who called it."""
    if "SUDO_UID" in os.environ and "SUDO_GID" in os.environ:
        for path in (folder.parent, folder, *folder.rglob("*")):
            os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def write_whole(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it finds all of it or what was there before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
