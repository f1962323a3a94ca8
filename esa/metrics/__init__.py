"""Metrics for Prometheus: what a process counts anyway, read when somebody asks for it. Nothing about ESA.

    with MetricsServer("127.0.0.1:9100", read):      # read() yields samples
        ...

Importing this imports neither prometheus_client nor an HTTP server; making a `MetricsServer` does.
"""

from __future__ import annotations

from esa.metrics.families import Family, Sample
from esa.metrics.serving import MetricsServer, check_address

__all__ = ["Family", "MetricsServer", "Sample", "check_address"]
