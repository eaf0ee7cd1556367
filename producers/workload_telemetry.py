"""Devices as a building has them: drift, a daily cycle, batteries that run down, dropouts and reconnects.

Devices take turns. One that is offline misses its turn; when it is back it says so first (``DeviceConnected``), and a
battery that falls below its warning level is told once (``BatteryLow``), until it is replaced.
"""

from collections.abc import Sequence
from math import pi, sin
from typing import NamedTuple

from producers.chance import EventIds, stream_of
from producers.events import Event, PartitionOf

SOURCE = "penstock-produce"
TOPIC = "telemetry"

LOW_PERCENT = 15
_DROPOUT = 0.002
"""Chance, at each reading, that the device then drops out."""
_MEAN_OUTAGE_MS = 20_000
_DAY_MS = 86_400_000
_FIRMWARE = ("1.4.2", "1.5.0", "2.0.1")


class Kind(NamedTuple):
    """What a kind of device measures, and how that moves."""

    sensor: str
    unit: str
    base: float
    spread: float
    daily: float
    noise: float
    drift: float
    low: float
    high: float


_KINDS = (
    Kind("TEMPERATURE", "celsius", 20.0, 3.0, 4.0, 0.15, 0.01, -40.0, 85.0),
    Kind("HUMIDITY", "percent", 50.0, 8.0, 10.0, 0.6, 0.03, 0.0, 100.0),
    Kind("PRESSURE", "hectopascal", 1013.0, 4.0, 1.5, 0.1, 0.02, 300.0, 1100.0),
    Kind("CPU", "percent", 35.0, 15.0, 20.0, 4.0, 0.05, 0.0, 100.0),
)


class _Device:
    __slots__ = (
        "base", "charge", "connected", "device_id", "firmware", "kind", "partition", "phase", "until", "use", "warned",
    )  # fmt: skip

    def __init__(self, device_id: str, partition: int, kind: Kind, base: float, phase: float) -> None:
        self.device_id, self.partition, self.kind, self.base, self.phase = device_id, partition, kind, base, phase
        self.firmware = _FIRMWARE[0]
        self.charge = 100.0
        self.use = 0.01
        self.connected = False
        self.until = 0.0
        self.warned = False


class TelemetryWorkload:
    """A :class:`producers.events.Workload` of device events."""

    def __init__(self, seed: int, devices: int, partition_of: PartitionOf) -> None:
        self._rng = stream_of(seed, "telemetry")
        self._event_id = EventIds(stream_of(seed, "telemetry/ids"))
        self._devices = [self._device(number, partition_of) for number in range(1, devices + 1)]
        self._turn = 0

    def _device(self, number: int, partition_of: PartitionOf) -> _Device:
        rng, kind, device_id = self._rng, _KINDS[number % len(_KINDS)], f"d-{number:05}"
        base = kind.base + rng.gauss(0, kind.spread)
        device = _Device(device_id, partition_of(device_id), kind, base, rng.uniform(0, 0.5))
        device.firmware = rng.choice(_FIRMWARE)
        device.charge = rng.uniform(LOW_PERCENT, 100)
        device.use = rng.uniform(0.005, 0.05)
        return device

    def batch(self, times: Sequence[int]) -> list[Event]:
        """See :class:`producers.events.Workload`: an event of the next device that is not offline."""
        return [self._event(at) for at in times]

    def _event(self, at: int) -> Event:
        device = self._whose_turn(at)
        if not device.connected:
            device.connected, device.until = True, at
            return self._said(device, "DeviceConnected", at, {"firmware": device.firmware})
        if device.charge < LOW_PERCENT and not device.warned:
            device.warned = True
            return self._said(device, "BatteryLow", at, {"charge_percent": int(device.charge)})
        self._turn += 1
        return self._reading(device, at)

    def _whose_turn(self, at: int) -> _Device:
        devices = self._devices
        for _ in range(len(devices)):
            device = devices[self._turn % len(devices)]
            if device.until <= at:
                return device
            self._turn += 1
        return min(devices, key=lambda device: device.until)  # all are offline: the first one back comes early

    def _reading(self, device: _Device, at: int) -> Event:
        kind, rng = device.kind, self._rng
        random = rng.random
        # The sum of three uniform numbers is close enough to a bell, at a third of the cost of gauss().
        noise = (random() + random() + random() - 1.5) * 2 * kind.noise
        device.base += (random() - 0.5) * kind.drift
        value = device.base + kind.daily * sin(2 * pi * (at / _DAY_MS - device.phase)) + noise
        value = round(min(max(value, kind.low), kind.high), 3)
        self._wear(device, at)
        return self._said(device, "ReadingTaken", at, {"sensor": kind.sensor, "value": value, "unit": kind.unit})

    def _wear(self, device: _Device, at: int) -> None:
        device.charge -= device.use
        if device.charge < 1:  # somebody puts a new battery in, and the device starts again
            device.charge, device.warned, device.connected = 100.0, False, False
        elif self._rng.random() < _DROPOUT:
            device.connected = False
            device.until = at + self._rng.expovariate(1 / _MEAN_OUTAGE_MS)

    def _said(self, device: _Device, record: str, at: int, what: dict[str, object]) -> Event:
        fields = {
            "event_id": self._event_id.one(), "occurred_at": at, "source": SOURCE,
            "device_id": device.device_id, **what,
        }  # fmt: skip
        return Event(record, device.device_id, device.partition, fields)
