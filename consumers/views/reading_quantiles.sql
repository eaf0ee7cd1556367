--: view reading_quantiles
--: about Quantiles of the readings by minute and sensor, within 1 %, merged over partitions.
--: reads telemetry-metrics telemetry-metrics-final
-- A row a bucket and partition: how many readings fell in it. Quantile q is the middle of the bucket that holds the
-- reading of rank ceil(q × readings), which is within 1 % of that reading.

--: table reading_quantiles
CREATE TABLE IF NOT EXISTS {reading_quantiles} (
  window_start BIGINT NOT NULL, sensor {text} NOT NULL, bucket_e6 BIGINT NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL, readings BIGINT NOT NULL,
  PRIMARY KEY (window_start, sensor, bucket_e6, source_partition)
) {clustered}

--: merge ReadingBucket
--: key pane_start, sensor, bucket_e6, source_partition
--: newest final, next_offset
--: stage pane_start BIGINT, sensor {text}, bucket_e6 BIGINT, source_partition BIGINT, final BIGINT, next_offset BIGINT
--: stage readings BIGINT
INSERT INTO {reading_quantiles} AS kept
  (window_start, sensor, bucket_e6, source_partition, final, next_offset, readings)
SELECT pane_start, sensor, bucket_e6, source_partition, final, next_offset, readings
FROM {staging} WHERE true {sorted pane_start, sensor, bucket_e6, source_partition}
ON CONFLICT (window_start, sensor, bucket_e6, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset, readings = excluded.readings
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: windows reading_quantiles
SELECT {utc span} AS window_start, sensor, CAST(max(total) AS BIGINT) AS readings,
  round(min(CASE WHEN upto * 100 >= total * 50 THEN bucket_e6 END) / 1000000.0, 6) AS p50,
  round(min(CASE WHEN upto * 100 >= total * 95 THEN bucket_e6 END) / 1000000.0, 6) AS p95,
  round(min(CASE WHEN upto * 100 >= total * 99 THEN bucket_e6 END) / 1000000.0, 6) AS p99,
  min(final) = 1 AS final, span AS window_start_ms,
  min(CASE WHEN upto * 100 >= total * 50 THEN bucket_e6 END) AS p50_e6,
  min(CASE WHEN upto * 100 >= total * 95 THEN bucket_e6 END) AS p95_e6,
  min(CASE WHEN upto * 100 >= total * 99 THEN bucket_e6 END) AS p99_e6
FROM (SELECT span, sensor, bucket_e6, final, sum(readings) OVER (PARTITION BY span, sensor) AS total,
        sum(readings) OVER (PARTITION BY span, sensor ORDER BY bucket_e6) AS upto
      FROM (SELECT {span} AS span, sensor, bucket_e6, sum(readings) AS readings,
              min(final) AS final
            FROM {reading_quantiles} GROUP BY 1, 2, 3) AS bucket) AS ranked
GROUP BY span, sensor

--: gauge penstock_business_reading_quantile sensor, quantile : Quantiles of the last 5 minutes of readings, within 1 %.
SELECT sensor, quantile, min(bucket_e6) / 1000000.0
FROM (SELECT sensor, bucket_e6, sum(sum(readings)) OVER (PARTITION BY sensor) AS total,
        sum(sum(readings)) OVER (PARTITION BY sensor ORDER BY bucket_e6) AS upto
      FROM {reading_quantiles} WHERE window_start > (SELECT max(window_start) - 300000 FROM {reading_quantiles})
      GROUP BY sensor, bucket_e6) AS ranked
JOIN (SELECT '0.5' AS quantile, 50 AS percent UNION ALL SELECT '0.95', 95 UNION ALL SELECT '0.99', 99) AS asked
  ON upto * 100 >= total * percent
GROUP BY sensor, quantile ORDER BY 1, 2 LIMIT 100
