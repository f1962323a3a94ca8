"""The switch's metrics: what its ports have counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from esa.metrics import Family, Sample
from esa.switch.runtime.device import Device

_PORT = ("port", "interface")
PORTS = {  # by the name of the loop's counter
    "rx_packets": Family("esa_switch_port_received_packets_total", "Frames taken in.", _PORT),
    "rx_bytes": Family("esa_switch_port_received_bytes_total", "Bytes of frames taken in, without FCS.", _PORT),
    "rx_dropped": Family(
        "esa_switch_port_received_dropped_packets_total", "Frames that came faster than they were taken.", _PORT
    ),
    "tx_packets": Family("esa_switch_port_sent_packets_total", "Frames sent.", _PORT),
    "tx_bytes": Family("esa_switch_port_sent_bytes_total", "Bytes of frames sent, without FCS.", _PORT),
    "tx_dropped": Family(
        "esa_switch_port_sent_dropped_packets_total", "Frames that the port had no room for, or too long for it.", _PORT
    ),
    "queue_dropped": Family(
        "esa_switch_port_queue_dropped_packets_total", "Frames that found a queue of the switch's own full.", _PORT
    ),
}
LOADED = Family("esa_switch_program_loaded", "Whether the switch runs a program: 1, or 0.")
GIVEN_UP = Family(
    "esa_switch_given_up_packets_total", "Packets dropped after too many recirculations and resubmissions."
)
FAMILIES = (*PORTS.values(), LOADED, GIVEN_UP)


def read(
    device: Device, interfaces: Mapping[int, str], counters: Callable[[], Mapping[int, Mapping[str, int]]]
) -> Iterator[Sample]:
    """Yield what is counted now; `counters`: those of the packet loop, by port."""
    for port, counted in counters().items():
        for name, value in counted.items():
            yield Sample(PORTS[name], value, (str(port), interfaces[port]))
    pipeline = device.pipeline
    yield Sample(LOADED, pipeline is not None)
    yield Sample(GIVEN_UP, 0 if pipeline is None else pipeline.given_up)
