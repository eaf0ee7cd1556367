--: view devices
--: about A row a device and sensor: the last reading, connection and low battery; sensor is NULL without readings.
--: reads telemetry

--: table devices
CREATE TABLE IF NOT EXISTS {devices} (
  device_id {text} NOT NULL PRIMARY KEY,
  connected_at BIGINT, connected_id {text}, firmware {text},
  battery_low_at BIGINT, battery_low_id {text}, battery_percent BIGINT
) {clustered}

--: table device_readings
CREATE TABLE IF NOT EXISTS {device_readings} (
  device_id {text} NOT NULL, sensor {text} NOT NULL,
  reading_at BIGINT NOT NULL, reading_id {text} NOT NULL, value_e6 BIGINT NOT NULL, unit {text} NOT NULL,
  PRIMARY KEY (device_id, sensor)
) {clustered}

--: merge ReadingTaken
--: key device_id, sensor
--: newest occurred_at, event_id
--: stage device_id {text}, sensor {text}, occurred_at BIGINT, event_id {text}, value_e6 BIGINT, unit {text}
INSERT INTO {device_readings} AS kept (device_id, sensor, reading_at, reading_id, value_e6, unit)
SELECT device_id, sensor, occurred_at, event_id, value_e6, unit
FROM {staging} WHERE true {sorted device_id, sensor}
ON CONFLICT (device_id, sensor) DO UPDATE SET
  reading_at = excluded.reading_at, reading_id = excluded.reading_id,
  value_e6 = excluded.value_e6, unit = excluded.unit
WHERE (excluded.reading_at, excluded.reading_id) > (kept.reading_at, kept.reading_id)

--: merge DeviceConnected
--: key device_id
--: newest occurred_at, event_id
--: stage device_id {text}, occurred_at BIGINT, event_id {text}, firmware {text}
INSERT INTO {devices} AS kept (device_id, connected_at, connected_id, firmware)
SELECT device_id, occurred_at, event_id, firmware
FROM {staging} WHERE true {sorted device_id}
ON CONFLICT (device_id) DO UPDATE SET
  connected_at = excluded.connected_at, connected_id = excluded.connected_id, firmware = excluded.firmware
WHERE kept.connected_at IS NULL
  OR (excluded.connected_at, excluded.connected_id) > (kept.connected_at, kept.connected_id)

--: merge BatteryLow
--: key device_id
--: newest occurred_at, event_id
--: stage device_id {text}, occurred_at BIGINT, event_id {text}, charge_percent BIGINT
INSERT INTO {devices} AS kept (device_id, battery_low_at, battery_low_id, battery_percent)
SELECT device_id, occurred_at, event_id, charge_percent
FROM {staging} WHERE true {sorted device_id}
ON CONFLICT (device_id) DO UPDATE SET
  battery_low_at = excluded.battery_low_at, battery_low_id = excluded.battery_low_id,
  battery_percent = excluded.battery_percent
WHERE kept.battery_low_at IS NULL
  OR (excluded.battery_low_at, excluded.battery_low_id) > (kept.battery_low_at, kept.battery_low_id)

--: read devices
SELECT known.device_id, reading.sensor, round(reading.value_e6 / 1000000.0, 6) AS value, reading.value_e6,
  reading.unit, {utc reading.reading_at} AS reading_at, {utc device.connected_at} AS connected_at, device.firmware,
  device.battery_percent, {utc device.battery_low_at} AS battery_low_at,
  reading.reading_at AS reading_at_ms, device.connected_at AS connected_at_ms,
  device.battery_low_at AS battery_low_at_ms
FROM (SELECT device_id FROM {devices} UNION SELECT device_id FROM {device_readings}) AS known
LEFT JOIN {devices} AS device ON device.device_id = known.device_id
LEFT JOIN {device_readings} AS reading ON reading.device_id = known.device_id

--: gauge penstock_business_devices sensor : Devices that have ever sent a reading, by sensor.
SELECT sensor, count(*) FROM {device_readings} GROUP BY sensor

--: gauge penstock_business_silent_devices sensor : Devices whose last reading is 10 minutes older than anybody's newest.
SELECT sensor, sum(CASE WHEN reading_at < newest.at - 600000 THEN 1 ELSE 0 END)
FROM {device_readings} CROSS JOIN (SELECT max(reading_at) AS at FROM {device_readings}) AS newest GROUP BY sensor

--: gauge penstock_business_low_batteries : Devices that told of a low battery in the last 24 hours of readings.
SELECT count(*) FROM {devices}
WHERE battery_low_at > (SELECT max(reading_at) - 86400000 FROM {device_readings})
