"""This machine's hardware and load, from psutil and, for NVIDIA cards, from NVML."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pynvml
from blake3 import blake3

_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")


class MachineFigures:
    """Figures for heartbeats and the attestation. Call `close` after use."""

    def __init__(self, stands_for: str = "", attest: Mapping[str, Any] | None = None) -> None:
        """`stands_for` names an invented machine, for several nodes that share this one to show a fleet.

        `attest` is the attestation of the invented machine. It replaces this machine's.
        """
        self._stands_for = stands_for
        self._attest = attest
        self._started = time.monotonic()
        self._cards = _nvidia_cards()
        psutil.cpu_percent(interval=None)  # the first call only starts the measurement

    def metrics(self) -> dict[str, float]:
        """The `metrics` of a heartbeat.

        `uptime` is the agent's, in seconds. `gpu_util` and `mem_used_ratio` are from 0 to 1. `cpu_percent` is
        from 0 to 100, measured since the last call. `temp` is in °C. Figures that the machine does not
        report, such as a Mac's `gpu_util`, are left out and never 0.
        """
        metrics = {
            "uptime": round(time.monotonic() - self._started, 3),
            "gpu_util": self._gpu_utilisation(),
            "cpu_percent": psutil.cpu_percent(interval=None),
            "mem_used_ratio": round(psutil.virtual_memory().percent / 100, 4),
            "temp": self._temperature_celsius(),
        }
        return {name: value for name, value in metrics.items() if value is not None}

    def attestation(self, energy_proof_url: str | None) -> dict[str, Any]:
        """The `attest` member of registrations and heartbeats. Unknown values are '' or None.

        `hardware_hash` is stable for a machine. Its inputs, such as serial numbers, are only sent as this
        hash. It is '' if nothing distinguishes this machine from others of its kind, as in many containers.
        """
        if self._attest is not None:
            return dict(self._attest)
        vram_gb: int | None = None
        gpu_model, driver_version, cuda_version, gpu_uuids = "", "", "", []
        if self._cards:
            gpu_model = pynvml.nvmlDeviceGetName(self._cards[0])
            if len(self._cards) > 1:
                gpu_model = f"{len(self._cards)} x {gpu_model}"
            total_bytes = sum(int(pynvml.nvmlDeviceGetMemoryInfo(card).total) for card in self._cards)
            vram_gb = round(total_bytes / 2**30)
            driver_version = pynvml.nvmlSystemGetDriverVersion()
            cuda = pynvml.nvmlSystemGetCudaDriverVersion()
            cuda_version = f"{cuda // 1000}.{cuda % 1000 // 10}"
            gpu_uuids = [pynvml.nvmlDeviceGetUUID(card) for card in self._cards]
        elif sys.platform == "darwin" and platform.machine() == "arm64":
            gpu_model = _processor_name()
            vram_gb = round(psutil.virtual_memory().total / 2**30)  # the GPU shares the memory
        identifying = [each for each in (_machine_id(), *gpu_uuids, self._stands_for) if each]
        facts = [
            platform.system(),
            platform.machine(),
            _processor_name(),
            str(psutil.cpu_count()),
            # in GiB, because the memory that a kernel reserves differs between versions
            str(round(psutil.virtual_memory().total / 2**30)),
            *identifying,
        ]
        return {
            "gpu_model": gpu_model,
            "vram_gb": vram_gb,
            "driver_version": driver_version,
            "cuda_version": cuda_version,
            "hardware_hash": "blake3:" + blake3("\n".join(facts).encode()).hexdigest() if identifying else "",
            "energy_proof_url": energy_proof_url,
        }

    def close(self) -> None:
        """Shut down NVML."""
        if self._cards:
            self._cards = []
            pynvml.nvmlShutdown()

    def _gpu_utilisation(self) -> float | None:
        if not self._cards:
            return None
        try:
            percent = statistics.fmean(pynvml.nvmlDeviceGetUtilizationRates(card).gpu for card in self._cards)
        except pynvml.NVMLError:
            return None
        return round(min(1.0, percent / 100), 4)

    def _temperature_celsius(self) -> float | None:
        """The temperature of the hottest card or, without cards, of the hottest CPU sensor."""
        if self._cards:
            try:
                return float(
                    max(
                        pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU)
                        for card in self._cards
                    )
                )
            except pynvml.NVMLError:
                return None
        read = getattr(psutil, "sensors_temperatures", None)  # only on Linux and FreeBSD
        sensors = read() if read else {}
        for name in _CPU_SENSORS:
            readings = [sensor.current for sensor in sensors.get(name, []) if sensor.current]
            if readings:
                return round(float(max(readings)), 1)
        return None


def _nvidia_cards() -> list[Any]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return []
    try:
        cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        cards = []
    if not cards:
        pynvml.nvmlShutdown()
    return cards


def _processor_name() -> str:
    if sys.platform == "darwin":
        return _output_of("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor()


def _machine_id() -> str:
    if sys.platform == "darwin":
        for line in _output_of("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice").splitlines():
            if "IOPlatformUUID" in line:
                return line.split('"')[-2]
        return ""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def _output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=3, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
