"""A Grafana dashboard of the metrics that there are: `esa grafana > dashboard.json`, then Dashboards, Import."""

from __future__ import annotations

from typing import Any, NamedTuple

UID = "esa-in-network-aggregation"
WIDTH, HEIGHT = 12, 8  # of a panel; a dashboard is 24 wide
JOB, RANK = "{{job_name}}", "{{job_name}} rank {{rank}}"  # how lines are called
SOURCE = {"type": "prometheus", "uid": "${source}"}


class Query(NamedTuple):
    """An expression, and how its lines are called."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """A graph over time. unit: by Grafana's names."""

    title: str
    unit: str
    queries: tuple[Query, ...]


def _rate(metric: str, by: str = "job_name") -> str:
    return f'sum by ({by}) (rate({metric}{{job_name=~"$job"}}[$__rate_interval]))'


PANELS = (
    Panel(
        "Rows in use",
        "short",
        (Query('esa_job_rows{job_name=~"$job"}', JOB), Query("esa_switch_rows", "there are")),
    ),
    Panel("Sums completed by the switch", "ops", (Query(_rate("esa_job_completed_total"), JOB),)),
    Panel(
        "Fragments that found no row",
        "ops",
        (
            Query(_rate("esa_job_collisions_total"), "{{job_name}} collisions"),
            Query(_rate("esa_job_preemptions_total"), "{{job_name}} preempts"),
            Query(_rate("esa_job_evicted_total"), "{{job_name}} is evicted"),
        ),
    ),
    Panel(
        "Denied by admission",
        "pps",
        (Query("sum by (reason) (rate(esa_switch_denied_packets_total[$__rate_interval]))", "{{reason}}"),),
    ),
    Panel(
        "Results of workers",
        "ops",
        (
            Query(_rate("esa_worker_results_total"), JOB),
            Query(_rate("esa_worker_results_via_ps_total"), "{{job_name}} by the PS"),
        ),
    ),
    Panel("Sent again", "ops", (Query(_rate("esa_worker_resends_total", by="job_name, rank"), RANK),)),
    Panel("Round trip", "s", (Query('esa_worker_round_trip_seconds{job_name=~"$job"}', RANK),)),
    Panel("Window", "short", (Query('esa_worker_window_fragments{job_name=~"$job"}', RANK),)),
    Panel("Waiting", "s", (Query('esa_worker_waiting_seconds{job_name=~"$job"}', RANK),)),
    Panel(
        "The PS asks",
        "ops",
        (
            Query(_rate("esa_ps_reminders_total"), "{{job_name}} the switch"),
            Query(_rate("esa_ps_queries_total"), "{{job_name}} workers"),
        ),
    ),
    Panel(
        "Ports, bytes",
        "Bps",
        (
            Query("rate(esa_switch_port_received_bytes_total[$__rate_interval])", "{{interface}} in"),
            Query("rate(esa_switch_port_sent_bytes_total[$__rate_interval])", "{{interface}} out"),
        ),
    ),
    Panel(
        "Ports, dropped",
        "pps",
        (
            Query("rate(esa_switch_port_received_dropped_packets_total[$__rate_interval])", "{{interface}} in"),
            Query("rate(esa_switch_port_sent_dropped_packets_total[$__rate_interval])", "{{interface}} out"),
            Query("rate(esa_switch_port_queue_dropped_packets_total[$__rate_interval])", "{{interface}} queue"),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return it as Grafana imports it, for the data source and the jobs that are chosen at its top."""
    return {
        "uid": UID,
        "title": "ESA in-network aggregation",
        "schemaVersion": 36,
        "editable": True,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [_source_variable(), _job_variable()]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query.expression, "legendFormat": query.legend}
            for i, query in enumerate(panel.queries)
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _job_variable() -> dict[str, Any]:
    return {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(esa_job_rows, job_name)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
