--: view pane_counts
--: about Events applied by source topic, minute and partition: the other side of the books.
--: reads order-metrics order-metrics-final telemetry-metrics telemetry-metrics-final

--: table pane_counts
CREATE TABLE IF NOT EXISTS {pane_counts} (
  source_topic {text} NOT NULL, window_start BIGINT NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL, applied BIGINT NOT NULL,
  PRIMARY KEY (source_topic, window_start, source_partition)
) {clustered}

--: index
-- All that the books' gauge reads, in its order.
CREATE INDEX IF NOT EXISTS {pane_counts}_by_place ON {pane_counts} (source_topic, source_partition, applied)

--: merge PaneCounted
--: key source_topic, pane_start, source_partition
--: newest final, next_offset
--: stage source_topic {text}, pane_start BIGINT, source_partition BIGINT
--: stage final BIGINT, next_offset BIGINT, applied BIGINT
INSERT INTO {pane_counts} AS kept (source_topic, window_start, source_partition, final, next_offset, applied)
SELECT source_topic, pane_start, source_partition, final, next_offset, applied
FROM {staging} WHERE true {sorted source_topic, pane_start, source_partition}
ON CONFLICT (source_topic, window_start, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset, applied = excluded.applied
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: read pane_counts
SELECT source_topic, {utc window_start} AS window_start, source_partition AS partition, applied, final = 1 AS final,
  next_offset, window_start AS window_start_ms
FROM {pane_counts}

--: gauge penstock_books_view_events topic, partition, fate : Events that the views hold, to compare with the books.
SELECT source_topic, source_partition, 'applied', sum(applied) FROM {pane_counts} GROUP BY source_topic, source_partition
