"""A P4 switch as a Mininet node: the embedded one, or BMv2's simple_switch_grpc; both take the same arguments."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esa.errors import BadInput, EsaError
from esa.net.streams import kept_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Mininet 2.3 imports distutils
    from mininet.node import Switch

SWITCHES = ("embedded", "bmv2")
BMV2 = "simple_switch_grpc"
BMV2_CLI = "simple_switch_CLI"
QUEUE_DEPTH = 1024  # packets per port; BMv2's own 64 loses a window's burst


def port_counters_path(log_dir: Path, name: str) -> Path:
    """Where a switch whose ports have rates leaves their counters when it ends."""
    return log_dir / f"{name}.ports.json"


class P4SwitchError(EsaError, RuntimeError):
    """The switch did not start or ended; the text says why and ends with its log."""


class P4Switch(Switch):
    """One P4 switch without a program, in the root namespace; a P4Runtime client at `grpc_address` gives it one.

        net = Mininet(topo, switch=partial(P4Switch, kind="bmv2", log_dir=Path("logs")), controller=None)

    kind:    "embedded" (esa.switch) or "bmv2" (simple_switch_grpc on the PATH)
    log_dir: where NAME.log goes; pcap_dir: where a capture per port and direction goes, None for none
    faults:  the embedded switch's file of what its ports' links do to frames on purpose
    metrics: where the embedded switch offers its own to Prometheus, HOST:PORT
    rates_bps, queue_packets: of the embedded switch's ports, by number: those in `rates_bps` have a queue of their own
    options: more of the embedded switch's command line
    """

    _devices = 0

    def __init__(
        self,
        name: str,
        *,
        kind: str = "embedded",
        log_dir: Path,
        pcap_dir: Path | None = None,
        faults: Path | None = None,
        metrics: str | None = None,
        rates_bps: Mapping[int, float] | None = None,
        queue_packets: int = QUEUE_DEPTH,
        options: Sequence[str] = (),
        device_id: int | None = None,
        cpu_port: int | None = None,
        **params: Any,
    ) -> None:
        if kind not in SWITCHES:
            raise BadInput(f"switch: unknown switch '{kind}'; allowed: {', '.join(SWITCHES)}")
        if kind == "bmv2" and shutil.which(BMV2) is None:
            raise P4SwitchError(f"switch 'bmv2' needs {BMV2} on the PATH; 'embedded' needs nothing")
        if faults is not None and kind != "embedded":
            raise BadInput(f"faults: '{kind}' has none of its own; allowed: switch 'embedded'")
        if rates_bps and kind != "embedded":
            raise BadInput(f"rates_bps: ports of '{kind}' have rates in packets; allowed: switch 'embedded'")
        if options and kind != "embedded":
            raise BadInput(f"options: '{kind}' does not know them; allowed: switch 'embedded'")
        type(self)._devices += 1
        self.kind = kind
        self.device_id = type(self)._devices if device_id is None else device_id
        self.cpu_port = cpu_port
        self.log_path = log_dir / f"{name}.log"
        self.pcap_dir = pcap_dir
        self.faults = faults
        self.metrics = metrics if kind == "embedded" else None  # BMv2 has none
        self.rates_bps = dict(rates_bps or {})
        self.queue_packets = queue_packets
        self.options = tuple(options)
        self.port_counters = port_counters_path(log_dir, name)
        self._kept_ports = kept_port(), kept_port()
        grpc_port, self.thrift_port = (sock.getsockname()[1] for sock in self._kept_ports)
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        self.process: subprocess.Popen[bytes] | None = None
        params.setdefault("inNamespace", False)
        super().__init__(name, dpid=f"{self.device_id:x}", **params)

    def command(self) -> list[str]:
        """Return the command line; port numbers are Mininet's, which the control plane uses too."""
        command = [BMV2] if self.kind == "bmv2" else [sys.executable, "-m", "esa.switch"]
        # BMv2 says at level info what happens to packets.
        level = "warn" if self.kind == "bmv2" else "info"
        command += ["--no-p4", "--device-id", str(self.device_id), "--log-console", "--log-level", level]
        if self.kind == "bmv2":
            command += ["--thrift-port", str(self.thrift_port)]
        for port, interface in sorted(self.intfs.items()):
            if interface.name != "lo":
                command += ["-i", f"{port}@{interface.name}"]
        if self.pcap_dir is not None:
            command += [f"--pcap={self.pcap_dir}"]
        if self.faults is not None:
            command += ["--faults", str(self.faults)]
        if self.metrics is not None:
            command += ["--metrics", self.metrics]
        if self.rates_bps:
            command += ["--queue-depth", str(self.queue_packets), "--port-counters", str(self.port_counters)]
            for port, rate_bps in sorted(self.rates_bps.items()):
                command += ["--queue-rate", f"{port}@{rate_bps:.0f}bps"]
        command += [*self.options, "--", "--grpc-server-addr", self.grpc_address]
        if self.cpu_port is not None:
            command += ["--cpu-port", str(self.cpu_port)]
        return command

    def start(self, _controllers: object) -> None:
        """Start the process and wait until it takes P4Runtime connections; P4SwitchError if it does not."""
        self.begin()
        self.await_listening()

    def begin(self) -> None:
        """Start the process; `await_listening` waits for it, so that several may start side by side."""
        if self.pcap_dir is not None:
            self.pcap_dir.mkdir(parents=True, exist_ok=True)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.write_bytes(b"")
        self._spawn()

    def _spawn(self) -> None:
        with self.log_path.open("ab") as log:
            # Ends with this process, whatever ends it; out of the terminal's process group, so that Ctrl-C reaches
            # this process alone and the order of ending stays ours.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the process as a power cut would (SIGKILL): rows, tables and program are gone. See `restart`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Start a switch without a program in the place of the one that ended; its log goes on.

        To be called by a thread that lives as long as the switch shall: the kernel ends a child with its parent thread.
        """
        self.start_again()
        self.await_listening()

    def start_again(self) -> None:
        """As `restart`, but without waiting until it listens."""
        self.kill()
        self._spawn()

    @property
    def killed(self) -> bool:
        """Whether somebody ended the process with SIGKILL."""
        return self.process is not None and self.process.poll() == -signal.SIGKILL

    def await_listening(self, timeout_s: float = 60.0) -> None:
        """Wait until it takes P4Runtime connections; P4SwitchError if it does not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check()
            if self.listens():
                return
            time.sleep(0.05)
        raise P4SwitchError(f"switch {self.name} did not listen on {self.grpc_address} within {timeout_s:.0f} s")

    def listens(self) -> bool:
        """Whether it takes P4Runtime connections."""
        host, port = self.grpc_address.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            return False
        return True

    def check(self) -> None:
        """Raise P4SwitchError if the process has ended."""
        if self.process is not None and self.process.poll() is not None:
            last = self.log_path.read_text(errors="replace").splitlines()[-1:]
            said = f"{self.log_path} ends with: {last[0]}" if last else f"{self.log_path} is empty"
            raise P4SwitchError(f"switch {self.name} ended (status {self.process.returncode}); {said}")

    def deepen_queues(self) -> bool:
        """Set BMv2's egress queues to QUEUE_DEPTH; call once it has a program. False where its CLI is not installed."""
        if self.kind != "bmv2":
            return True
        if shutil.which(BMV2_CLI) is None:
            return False
        done = subprocess.run(
            [BMV2_CLI, "--thrift-port", str(self.thrift_port)],
            input=f"set_queue_depth {QUEUE_DEPTH}\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0 and "Error" not in done.stdout + done.stderr

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 (Mininet's name)
        if self.process is not None:
            self.process.terminate()  # lets pcaps be written
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        for sock in self._kept_ports:
            sock.close()
        super().stop(deleteIntfs)
