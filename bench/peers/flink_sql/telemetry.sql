-- Windows of a minute by a window table function; time is that of the slowest partition, less 10 s.
-- A heartbeat has none of the fields that are wanted, so they are null: it moves the time, and is counted nowhere.
SET 'parallelism.default' = '${CORES}';
SET 'pipeline.object-reuse' = 'true';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '10000';
SET 'table.local-time-zone' = 'UTC';
SET 'rest.address' = '127.0.0.1';
SET 'rest.bind-address' = '127.0.0.1';
SET 'rest.bind-port' = '${REST_PORT}';

CREATE TABLE events (
  occurred_at TIMESTAMP(3),
  device_id STRING,
  `value` DOUBLE,
  WATERMARK FOR occurred_at AS occurred_at - INTERVAL '10' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '${TOPIC}',
  'properties.bootstrap.servers' = '${BROKER}',
  'properties.group.id' = '${GROUP}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'format' = 'avro-confluent',
  'avro-confluent.url' = '${REGISTRY}'
);

CREATE TABLE answers (
  pane BIGINT,
  `key` STRING,
  `count` BIGINT,
  `sum` BIGINT,
  `min` BIGINT,
  `max` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = '${OUT}',
  'properties.bootstrap.servers' = '${BROKER}',
  'format' = 'json'
);

INSERT INTO answers
SELECT
  1000 * CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', window_start) AS BIGINT),
  device_id,
  COUNT(*),
  CAST(ROUND(SUM(`value`) * 1000000) AS BIGINT),
  CAST(ROUND(MIN(`value`) * 1000000) AS BIGINT),
  CAST(ROUND(MAX(`value`) * 1000000) AS BIGINT)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(occurred_at), INTERVAL '1' MINUTE))
WHERE device_id IS NOT NULL
GROUP BY window_start, window_end, device_id;
