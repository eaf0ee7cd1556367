--: view distinct_customers
--: about How many customers placed orders by minute, within 3 %, merged over partitions; guests are not counted.
--: reads order-metrics order-metrics-final
-- A row a block of 32 of the 16,384 registers, and partition; a block in which no customer fell has none. The estimate is
-- the improved raw estimator of Ertl (New cardinality estimation algorithms for HyperLogLog sketches, 2017), which needs
-- no correction for small or middling numbers: m² / (2 ln 2) / (m σ(zeros / m) + Σ 2^-rank), where
-- σ(x) = x + x² + 2 x⁴ + 4 x⁸ + … Ranks are at most 40, so the sum is one of whole numbers, and exact.

--: table distinct_customers
CREATE TABLE IF NOT EXISTS {distinct_customers} (
  window_start BIGINT NOT NULL, block BIGINT NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL, {each r# SMALLINT NOT NULL},
  PRIMARY KEY (window_start, block, source_partition)
) {clustered}

--: merge CustomerRegisters
--: key pane_start, block, source_partition
--: newest final, next_offset
--: stage pane_start BIGINT, block BIGINT, source_partition BIGINT, final BIGINT, next_offset BIGINT
--: stage r0 SMALLINT, r1 SMALLINT, r2 SMALLINT, r3 SMALLINT, r4 SMALLINT, r5 SMALLINT, r6 SMALLINT, r7 SMALLINT
--: stage r8 SMALLINT, r9 SMALLINT, r10 SMALLINT, r11 SMALLINT, r12 SMALLINT, r13 SMALLINT, r14 SMALLINT, r15 SMALLINT
--: stage r16 SMALLINT, r17 SMALLINT, r18 SMALLINT, r19 SMALLINT, r20 SMALLINT, r21 SMALLINT, r22 SMALLINT, r23 SMALLINT
--: stage r24 SMALLINT, r25 SMALLINT, r26 SMALLINT, r27 SMALLINT, r28 SMALLINT, r29 SMALLINT, r30 SMALLINT, r31 SMALLINT
INSERT INTO {distinct_customers} AS kept
  (window_start, block, source_partition, final, next_offset, {each r#})
SELECT pane_start, block, source_partition, final, next_offset, {each r#}
FROM {staging} WHERE true {sorted pane_start, block, source_partition}
ON CONFLICT (window_start, block, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset, {each r# = excluded.r#}
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: windows distinct_customers
SELECT {utc span} AS window_start, CAST(round(
    0.7213475204444817 * 16384 * 16384 / (harmonic + 16384 * (
      WITH RECURSIVE sigma(power, weight, total) AS (
        SELECT counted.zeros, CAST(1 AS DOUBLE PRECISION), counted.zeros
        UNION ALL SELECT power * power, weight * 2, total + power * power * weight FROM sigma WHERE power > 0.000000001)
      SELECT max(total) FROM sigma))
  ) AS BIGINT) AS customers, final = 1 AS final, span AS window_start_ms
FROM (SELECT span, min(final) AS final, CAST(sum({plus CASE r# WHEN 0 THEN 0 ELSE one << (40 - r#) END}
        ) AS DOUBLE PRECISION) / 1099511627776 AS harmonic,
        CAST(16384 - sum({plus CASE r# WHEN 0 THEN 0 ELSE 1 END}) AS DOUBLE PRECISION) / 16384 AS zeros
      FROM (SELECT {span} AS span, block, min(final) AS final, CAST(1 AS BIGINT) AS one,
              {each max(r#) AS r#}
            FROM {distinct_customers} GROUP BY 1, 2) AS merged
      GROUP BY span) AS counted
