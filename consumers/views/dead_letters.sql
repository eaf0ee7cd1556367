--: view dead_letters
--: about Records that can't be used, whole, and why; once by topic id, partition and offset.
--: reads dead-letters

--: table dead_letters
CREATE TABLE IF NOT EXISTS {dead_letters} (
  source_topic_id {text} NOT NULL, source_partition BIGINT NOT NULL, source_offset BIGINT NOT NULL,
  source_topic {text} NOT NULL, appended_at BIGINT NOT NULL, reason {text} NOT NULL, detail {text} NOT NULL,
  key BYTEA, value BYTEA,
  PRIMARY KEY (source_topic_id, source_partition, source_offset)
) {clustered}

--: index
-- All that counting by source partition, or by reason, reads: it need not touch the letters, which are large.
CREATE INDEX IF NOT EXISTS {dead_letters}_by_place
ON {dead_letters} (source_topic, source_partition, source_topic_id, source_offset, reason)

--: merge DeadLetter
--: key source_topic_id, source_partition, source_offset
--: stage source_topic_id {text}, source_partition BIGINT, source_offset BIGINT, source_topic {text}
--: stage appended_at BIGINT, reason {text}, detail {text}, key BYTEA, value BYTEA
-- A refold may send a letter again: it is the same letter.
INSERT INTO {dead_letters}
  (source_topic_id, source_partition, source_offset, source_topic, appended_at, reason, detail, key, value)
SELECT source_topic_id, source_partition, source_offset, source_topic, appended_at, reason, detail, key, value
FROM {staging} WHERE true {sorted source_topic_id, source_partition, source_offset}
ON CONFLICT (source_topic_id, source_partition, source_offset) DO NOTHING

--: read dead_letters
SELECT source_topic, source_partition, source_offset, reason, detail, {utc appended_at} AS appended_at, key, value,
  source_topic_id, appended_at AS appended_at_ms
FROM {dead_letters}

--: gauge penstock_business_dead_letters topic, reason : Dead letters kept, by source topic and reason.
SELECT source_topic, reason, count(*) FROM {dead_letters} GROUP BY source_topic, reason ORDER BY 3 DESC, 1, 2 LIMIT 100

--: gauge penstock_books_view_events topic, partition, fate : Events that the views hold, to compare with the books.
SELECT source_topic, source_partition, 'dead', count(*) FROM {dead_letters} GROUP BY source_topic, source_partition
