"""How a live run can fail."""

from __future__ import annotations

from esa.errors import EsaError


class RunError(EsaError, RuntimeError):
    """The run did not end as it should; the text names the job and what happened."""


class RigError(EsaError, RuntimeError):
    """A part of the rig did not start."""
