--: view order_metrics
--: about Orders by minute and country, summed over partitions.
--: reads order-metrics order-metrics-final
-- A row a partition: the one with the larger (final, next_offset) wins, so a zombie's or a replay's older result loses.
-- `final` in the relations for people: each partition's part that is here is final.

--: table order_metrics
CREATE TABLE IF NOT EXISTS {order_metrics} (
  window_start BIGINT NOT NULL, country {text} NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL,
  orders BIGINT NOT NULL, revenue_e4 BIGINT NOT NULL, largest_order_e4 BIGINT, units BIGINT NOT NULL,
  cancellations BIGINT NOT NULL, cancelled_e4 BIGINT NOT NULL,
  PRIMARY KEY (window_start, country, source_partition)
) {clustered}

--: merge OrderMetrics
--: key pane_start, country, source_partition
--: newest final, next_offset
--: stage pane_start BIGINT, country {text}, source_partition BIGINT, final BIGINT, next_offset BIGINT
--: stage orders BIGINT, revenue_e4 BIGINT, largest_order_e4 BIGINT, units BIGINT
--: stage cancellations BIGINT, cancelled_e4 BIGINT
INSERT INTO {order_metrics} AS kept
  (window_start, country, source_partition, final, next_offset,
   orders, revenue_e4, largest_order_e4, units, cancellations, cancelled_e4)
SELECT pane_start, country, source_partition, final, next_offset,
  orders, revenue_e4, largest_order_e4, units, cancellations, cancelled_e4
FROM {staging} WHERE true {sorted pane_start, country, source_partition}
ON CONFLICT (window_start, country, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset,
  orders = excluded.orders, revenue_e4 = excluded.revenue_e4, largest_order_e4 = excluded.largest_order_e4,
  units = excluded.units, cancellations = excluded.cancellations, cancelled_e4 = excluded.cancelled_e4
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: read order_metrics
SELECT {utc window_start} AS window_start, country, CAST(sum(orders) AS BIGINT) AS orders,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, round(max(largest_order_e4) / 10000.0, 4) AS largest_order,
  CAST(sum(units) AS BIGINT) AS units, CAST(sum(cancellations) AS BIGINT) AS cancellations,
  round(sum(cancelled_e4) / 10000.0, 4) AS cancelled, min(final) = 1 AS final,
  window_start AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4,
  max(largest_order_e4) AS largest_order_e4, CAST(sum(cancelled_e4) AS BIGINT) AS cancelled_e4
FROM {order_metrics} AS part GROUP BY part.window_start, country

--: read order_metrics_by_hour
SELECT {utc hour} AS window_start, country, CAST(sum(orders) AS BIGINT) AS orders,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, round(max(largest_order_e4) / 10000.0, 4) AS largest_order,
  CAST(sum(units) AS BIGINT) AS units, CAST(sum(cancellations) AS BIGINT) AS cancellations,
  round(sum(cancelled_e4) / 10000.0, 4) AS cancelled, min(final) = 1 AS final,
  hour AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4,
  max(largest_order_e4) AS largest_order_e4, CAST(sum(cancelled_e4) AS BIGINT) AS cancelled_e4
FROM (SELECT window_start - window_start % 3600000 AS hour, country, orders, revenue_e4, largest_order_e4, units,
        cancellations, cancelled_e4, final FROM {order_metrics}) AS part
GROUP BY hour, country

--: read order_metrics_by_day
SELECT {utc day} AS window_start, country, CAST(sum(orders) AS BIGINT) AS orders,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, round(max(largest_order_e4) / 10000.0, 4) AS largest_order,
  CAST(sum(units) AS BIGINT) AS units, CAST(sum(cancellations) AS BIGINT) AS cancellations,
  round(sum(cancelled_e4) / 10000.0, 4) AS cancelled, min(final) = 1 AS final,
  day AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4,
  max(largest_order_e4) AS largest_order_e4, CAST(sum(cancelled_e4) AS BIGINT) AS cancelled_e4
FROM (SELECT window_start - window_start % 86400000 AS day, country, orders, revenue_e4, largest_order_e4, units,
        cancellations, cancelled_e4, final FROM {order_metrics}) AS part
GROUP BY day, country

--: gauge penstock_business_orders_placed country : Orders placed, late ones not counted.
SELECT country, sum(orders) FROM {order_metrics} GROUP BY country ORDER BY 2 DESC, 1 LIMIT 100

--: gauge penstock_business_revenue country : Revenue of the orders placed, late ones not counted.
SELECT country, sum(revenue_e4) / 10000.0 FROM {order_metrics} GROUP BY country ORDER BY 2 DESC, 1 LIMIT 100

--: gauge penstock_business_cancelled country : Value of the orders cancelled, late ones not counted.
SELECT country, sum(cancelled_e4) / 10000.0 FROM {order_metrics} GROUP BY country ORDER BY 2 DESC, 1 LIMIT 100
