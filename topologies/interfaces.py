"""What interfaces of hosts and of the switch have in common, whatever network they are part of."""

from __future__ import annotations

from esa.errors import EsaError

# With these on, frames reach the switch unsegmented or merged, and without checksums.
OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro")
SWITCH_MAC = "02:00:00:00:00:fe"  # where hosts send what is for the switch itself: it answers no ARP


class NotRootError(EsaError, PermissionError):
    """Network namespaces and interfaces need root."""

    status = 2
