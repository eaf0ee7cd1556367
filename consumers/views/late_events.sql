--: view late_events
--: about Events whose pane was final when they came, whole; once by topic id, partition and offset.
--: reads late-events

--: table late_events
CREATE TABLE IF NOT EXISTS {late_events} (
  source_topic_id {text} NOT NULL, source_partition BIGINT NOT NULL, source_offset BIGINT NOT NULL,
  source_topic {text} NOT NULL, appended_at BIGINT NOT NULL, event_id {text} NOT NULL, occurred_at BIGINT NOT NULL,
  watermark BIGINT NOT NULL, key BYTEA, value BYTEA,
  PRIMARY KEY (source_topic_id, source_partition, source_offset)
) {clustered}

--: index
-- All that counting by source partition reads: it need not touch the letters, which are large.
CREATE INDEX IF NOT EXISTS {late_events}_by_place
ON {late_events} (source_topic, source_partition, source_topic_id, source_offset)

--: merge LateEvent
--: key source_topic_id, source_partition, source_offset
--: stage source_topic_id {text}, source_partition BIGINT, source_offset BIGINT, source_topic {text}
--: stage appended_at BIGINT, event_id {text}, occurred_at BIGINT, watermark BIGINT, key BYTEA, value BYTEA
-- A refold may send a letter again: it is the same letter.
INSERT INTO {late_events}
  (source_topic_id, source_partition, source_offset, source_topic, appended_at, event_id, occurred_at, watermark,
   key, value)
SELECT source_topic_id, source_partition, source_offset, source_topic, appended_at, event_id, occurred_at, watermark,
  key, value
FROM {staging} WHERE true {sorted source_topic_id, source_partition, source_offset}
ON CONFLICT (source_topic_id, source_partition, source_offset) DO NOTHING

--: read late_events
SELECT source_topic, source_partition, source_offset, event_id, {utc occurred_at} AS occurred_at,
  {utc appended_at} AS appended_at, {utc watermark} AS watermark, key, value, source_topic_id,
  occurred_at AS occurred_at_ms, appended_at AS appended_at_ms, watermark AS watermark_ms
FROM {late_events}

--: gauge penstock_business_late_events topic : Late events kept, by source topic.
SELECT source_topic, count(*) FROM {late_events} GROUP BY source_topic

--: gauge penstock_books_view_events topic, partition, fate : Events that the views hold, to compare with the books.
SELECT source_topic, source_partition, 'late', count(*) FROM {late_events} GROUP BY source_topic, source_partition
