--: view telemetry_metrics
--: about Readings by minute, sensor and device, merged over partitions.
--: reads telemetry-metrics telemetry-metrics-final

--: table telemetry_metrics
CREATE TABLE IF NOT EXISTS {telemetry_metrics} (
  window_start BIGINT NOT NULL, sensor {text} NOT NULL, device_id {text} NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL,
  readings BIGINT NOT NULL, sum_e6 BIGINT NOT NULL, min_e6 BIGINT NOT NULL, max_e6 BIGINT NOT NULL,
  last_e6 BIGINT NOT NULL, last_at BIGINT NOT NULL, last_event_id {text} NOT NULL,
  PRIMARY KEY (window_start, sensor, device_id, source_partition)
) {clustered}

--: merge TelemetryMetrics
--: key pane_start, sensor, device_id, source_partition
--: newest final, next_offset
--: stage pane_start BIGINT, sensor {text}, device_id {text}, source_partition BIGINT
--: stage final BIGINT, next_offset BIGINT, readings BIGINT, sum_e6 BIGINT, min_e6 BIGINT, max_e6 BIGINT
--: stage last_e6 BIGINT, last_at BIGINT, last_event_id {text}
INSERT INTO {telemetry_metrics} AS kept
  (window_start, sensor, device_id, source_partition, final, next_offset,
   readings, sum_e6, min_e6, max_e6, last_e6, last_at, last_event_id)
SELECT pane_start, sensor, device_id, source_partition, final, next_offset,
  readings, sum_e6, min_e6, max_e6, last_e6, last_at, last_event_id
FROM {staging} WHERE true {sorted pane_start, sensor, device_id, source_partition}
ON CONFLICT (window_start, sensor, device_id, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset,
  readings = excluded.readings, sum_e6 = excluded.sum_e6, min_e6 = excluded.min_e6, max_e6 = excluded.max_e6,
  last_e6 = excluded.last_e6, last_at = excluded.last_at, last_event_id = excluded.last_event_id
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: windows telemetry_metrics
SELECT {utc span} AS window_start, sensor, device_id, CAST(sum(readings) AS BIGINT) AS readings,
  round(min(min_e6) / 1000000.0, 6) AS min, round(max(max_e6) / 1000000.0, 6) AS max,
  round(sum(sum_e6) / 1000000.0 / sum(readings), 6) AS mean,
  round(max(CASE WHEN place = 1 THEN last_e6 END) / 1000000.0, 6) AS last, min(final) = 1 AS final,
  span AS window_start_ms, CAST(sum(sum_e6) AS BIGINT) AS sum_e6, min(min_e6) AS min_e6, max(max_e6) AS max_e6,
  max(CASE WHEN place = 1 THEN last_e6 END) AS last_e6
FROM (SELECT {span} AS span, sensor, device_id, readings, sum_e6, min_e6,
        max_e6, last_e6, final, row_number() OVER (
          PARTITION BY {span}, sensor, device_id
          ORDER BY last_at DESC, last_event_id DESC) AS place
      FROM {telemetry_metrics}) AS part
GROUP BY span, sensor, device_id

--: gauge penstock_business_reading_mean sensor : Mean of the readings of the last 5 minutes of events, by sensor.
SELECT sensor, sum(sum_e6) / 1000000.0 / sum(readings) FROM {telemetry_metrics}
WHERE window_start > (SELECT max(window_start) - 300000 FROM {telemetry_metrics})
GROUP BY sensor ORDER BY 1 LIMIT 100

--: gauge penstock_business_readings sensor : Readings by sensor, late ones not counted.
SELECT sensor, sum(readings) FROM {telemetry_metrics} GROUP BY sensor ORDER BY 2 DESC, 1 LIMIT 100
