--: view freshness
--: about How far the numbers of each source partition are: when the newest probe was sent whose results are here.
--: reads freshness

--: table freshness
CREATE TABLE IF NOT EXISTS {freshness} (
  source_topic {text} NOT NULL, source_partition BIGINT NOT NULL, source_topic_id {text} NOT NULL,
  next_offset BIGINT NOT NULL, sent_at BIGINT NOT NULL,
  PRIMARY KEY (source_topic, source_partition)
) {clustered}

--: merge ProbePassed
--: key source_topic, source_partition
--: newest next_offset, sent_at
--: stage source_topic {text}, source_partition BIGINT, source_topic_id {text}, next_offset BIGINT, sent_at BIGINT
INSERT INTO {freshness} AS kept (source_topic, source_partition, source_topic_id, next_offset, sent_at)
SELECT source_topic, source_partition, source_topic_id, next_offset, sent_at
FROM {staging} WHERE true {sorted source_topic, source_partition}
ON CONFLICT (source_topic, source_partition) DO UPDATE SET
  source_topic_id = excluded.source_topic_id, next_offset = excluded.next_offset, sent_at = excluded.sent_at
WHERE (excluded.next_offset, excluded.sent_at) > (kept.next_offset, kept.sent_at)

--: read freshness
SELECT source_topic, source_partition AS partition, {utc sent_at} AS sent_at, next_offset, sent_at AS sent_at_ms
FROM {freshness}
