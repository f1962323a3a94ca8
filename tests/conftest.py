"""Several processes of tests at a time: each knows only the racks that it brought up."""

from __future__ import annotations

import os
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("ESA_RUN_FOLDER", tempfile.mkdtemp(prefix="esa-run-"))
