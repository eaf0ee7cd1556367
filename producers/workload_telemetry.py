"""Devices as a building has them: drift, a daily cycle, batteries that run down, dropouts and reconnects. In columns.

Devices take turns. One that is back says so first (``DeviceConnected``), and one whose battery is low says that once
(``BatteryLow``), until it has a new one. A device that is offline misses its turn: a gateway, which is on the mains,
takes one more reading in its place. All of it follows from the device, the time, and what was true at its last turn.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from penstock.avro_cells import Texts, Vocabulary
from penstock.avro_encoding_columns import Columns
from producers.chance import Draws, Floats, Ints
from producers.events import Made, Part, PartitionOf

Bools = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

SOURCE = "penstock-produce"
TOPIC = "telemetry"

LOW_PERCENT = 15
GATEWAY_EVERY = 10
"""The first device and each tenth after it is a gateway."""

_DAY_MS = 86_400_000
_SPELL_MS = (60_000, 600_000)
"""Shortest and longest spell in which a device drops out once."""
_OUTAGE_MS = (2_000, 40_000)
_BATTERY_MS = (900_000, 7_200_000)
_DRIFT_MS = (3_600_000, 4 * _DAY_MS)

_FIRMWARE = Vocabulary(["1.4.2", "1.5.0", "2.0.1"])
_SOURCES = Vocabulary([SOURCE])


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
    Kind("TEMPERATURE", "celsius", 20.0, 3.0, 4.0, 0.15, 0.5, -40.0, 85.0),
    Kind("HUMIDITY", "percent", 50.0, 8.0, 10.0, 0.6, 2.0, 0.0, 100.0),
    Kind("PRESSURE", "hectopascal", 1013.0, 4.0, 1.5, 0.1, 1.0, 300.0, 1100.0),
    Kind("CPU", "percent", 35.0, 15.0, 20.0, 4.0, 3.0, 0.0, 100.0),
)
_SENSORS = Vocabulary([kind.sensor for kind in _KINDS])
_UNITS = Vocabulary([kind.unit for kind in _KINDS])
_BASE, _SPREAD, _DAILY, _NOISE, _DRIFT, _LOW, _HIGH = np.array([kind[2:] for kind in _KINDS]).T


class Standing(NamedTuple):
    """How devices stand at some times: a number of the stretch that each is in, which grows when it starts anew; if it
    is offline; and the charge in percent."""

    stretch: Ints
    offline: Bools
    charge: Floats


class Devices:
    """What is fixed about each device."""

    def __init__(self, seed: int, count: int) -> None:
        numbers = np.arange(count)

        def between(purpose: str, low: float, high: float) -> Floats:
            return low + (high - low) * Draws(seed, f"telemetry/{purpose}").uniform(numbers)

        self.kind = (numbers + 1) % len(_KINDS)
        self.gateway = numbers % GATEWAY_EVERY == 0
        self.firmware = (between("firmware", 0, 1) * len(_FIRMWARE.words)).astype(np.int64)
        bell = between("base-1", -1, 1) + between("base-2", -1, 1) + between("base-3", -1, 1)
        self._base = _BASE[self.kind] + _SPREAD[self.kind] * bell
        self._phase = between("phase", 0, 0.5)
        self._drift_ms = between("drift", *_DRIFT_MS)
        self._drift_phase = between("drift-phase", 0, 1)
        self._spell_ms = between("spell", *_SPELL_MS).astype(np.int64)
        self._spell_phase = between("spell-phase", 0, _SPELL_MS[1]).astype(np.int64)
        self._battery_ms = between("battery", *_BATTERY_MS).astype(np.int64)
        self._battery_phase = between("battery-phase", 0, _BATTERY_MS[1]).astype(np.int64)
        self._outages = Draws(seed, "telemetry/outages")
        self._outage_lengths = Draws(seed, "telemetry/outage-lengths")
        self._noise = Draws(seed, "telemetry/noise")

    def standing(self, devices: Ints, times: Ints) -> Standing:
        """Return how ``devices`` stand at ``times``."""
        spell_ms = self._spell_ms[devices]
        spell, into = np.divmod(times + self._spell_phase[devices], spell_ms)
        draw = devices << 32 | spell
        low, high = _OUTAGE_MS
        length = low + (high - low) * self._outage_lengths.uniform(draw)
        begin = (spell_ms - length) * self._outages.uniform(draw)
        battery_ms = self._battery_ms[devices]
        battery, used = np.divmod(times + self._battery_phase[devices], battery_ms)
        powered = ~self.gateway[devices]
        offline = powered & (into >= begin) & (into < begin + length)
        stretch = np.where(powered, spell + (into >= begin) + battery, 0)
        return Standing(stretch, offline, np.where(powered, 100 - 99 * used / battery_ms, 100.0))

    def values(self, devices: Ints, times: Ints, numbers: Ints) -> Floats:
        """Return what ``devices`` measure at ``times``, to three places; ``numbers`` are of the readings."""
        kind = self.kind[devices]
        # The sum of three uniform numbers is close enough to a bell.
        noise = sum(self._noise.uniform(3 * numbers + part) for part in range(3)) - 1.5
        daily = np.sin(2 * np.pi * (times / _DAY_MS - self._phase[devices]))
        drift = np.sin(2 * np.pi * (times / self._drift_ms[devices] + self._drift_phase[devices]))
        value = self._base[devices] + _DAILY[kind] * daily + _DRIFT[kind] * drift + 2 * _NOISE[kind] * noise
        rounded: Floats = np.round(np.clip(value, _LOW[kind], _HIGH[kind]), 3)
        return rounded


class TelemetryWorkload:
    """A :class:`producers.events.Workload` of device events."""

    def __init__(self, seed: int, devices: int, partition_of: PartitionOf) -> None:
        self._count = devices
        self._devices = Devices(seed, devices)
        names = [f"d-{number:05}" for number in range(1, devices + 1)]
        self._names = Vocabulary(names)
        self._keys = np.array([name.encode() for name in names], object)
        self._partitions = _placed(names, partition_of)
        self._ids = Draws(seed, "telemetry/ids")
        self._substitutes = Draws(seed, "telemetry/substitutes")
        self._made = 0
        # Of each device's last turn: the stretch (-1: there was none), if it missed it, if its battery was low or it
        # said nothing of it because it had to say that it is back.
        self._stretch = np.full(devices, -1)
        self._missed = np.zeros(devices, bool)
        self._told = np.zeros(devices, bool)

    def batch(self, times: Ints) -> Made:
        """See :class:`producers.events.Workload`: an event of the device whose turn it is, or of a gateway."""
        numbers = np.arange(self._made, self._made + len(times))
        self._made += len(times)
        devices = numbers % self._count
        standing = self._devices.standing(devices, times)
        connects, warns = self._news(devices, standing)
        devices = np.where(standing.offline, self._substitute(numbers), devices)
        values = np.zeros(len(times))
        reads = ~(connects | warns)
        values[reads] = self._devices.values(devices[reads], times[reads], numbers[reads])
        ids = self._ids.uuids(numbers)
        parts = []
        for record, chosen in (("ReadingTaken", reads), ("DeviceConnected", connects), ("BatteryLow", warns)):
            places = np.flatnonzero(chosen)
            if len(places):
                own = devices[places]
                parts.append(Part(record, places, {
                    "event_id": Texts(ids[places]), "occurred_at": times[places],
                    "source": _SOURCES.at(np.zeros(len(places), np.int64)), "device_id": self._names.at(own),
                    **self._said(record, own, values[places], standing.charge[places]),
                }))  # fmt: skip
        amounts = np.rint(values * 1_000_000).astype(np.int64)
        keys = self._keys[devices].tolist()
        return Made(times, self._partitions[devices], keys, parts, amounts, np.zeros(len(times), np.int64))

    def _said(self, record: str, devices: Ints, values: Floats, charge: Floats) -> Columns:
        if record == "ReadingTaken":
            kinds = self._devices.kind[devices]
            return {"sensor": _SENSORS.at(kinds), "value": values, "unit": _UNITS.at(kinds)}
        if record == "DeviceConnected":
            return {"firmware": _FIRMWARE.at(self._devices.firmware[devices])}
        return {"charge_percent": charge.astype(np.int64)}

    def _news(self, devices: Ints, now: Standing) -> tuple[Bools, Bools]:
        """Return who says that it is back, and who that its battery is low; and note this turn."""
        here = ~now.offline
        missed = self._before(self._missed, devices, now.offline)
        connects = here & (missed | (self._before(self._stretch, devices, now.stretch) != now.stretch))
        low = now.charge < LOW_PERCENT
        told = low & here & ~connects
        warns = told & ~self._before(self._told, devices, told)
        turn = slice(max(0, len(devices) - self._count), None)
        for state, news in ((self._missed, now.offline), (self._stretch, now.stretch), (self._told, told)):
            state[devices[turn]] = news[turn]
        return connects, warns

    def _before(self, last: npt.NDArray[T], devices: Ints, now: npt.NDArray[T]) -> npt.NDArray[T]:
        """Return what was true at each device's last turn, which may be one of this batch."""
        before = now[: max(0, len(now) - self._count)]
        return np.concatenate((last[devices[: self._count]], before))

    def _substitute(self, numbers: Ints) -> Ints:
        gateways = -(-self._count // GATEWAY_EVERY)
        return (self._substitutes.uniform(numbers) * gateways).astype(np.int64) * GATEWAY_EVERY


def _placed(names: list[str], partition_of: PartitionOf) -> Ints:
    """Return the partition of each name: of those of one length at a time."""
    partitions = np.empty(len(names), np.int64)
    sizes = np.array([len(name) for name in names])
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes == size)
        keys = np.array([names[place].encode() for place in places], f"S{size}")
        partitions[places] = partition_of(keys.view(np.uint8).reshape(len(places), size))
    return partitions
