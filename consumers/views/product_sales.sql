--: view product_sales
--: about Sales by minute and product, summed over partitions.
--: reads order-metrics order-metrics-final

--: table product_sales
CREATE TABLE IF NOT EXISTS {product_sales} (
  window_start BIGINT NOT NULL, sku {text} NOT NULL, source_partition BIGINT NOT NULL,
  final BIGINT NOT NULL, next_offset BIGINT NOT NULL, units BIGINT NOT NULL, revenue_e4 BIGINT NOT NULL,
  PRIMARY KEY (window_start, sku, source_partition)
) {clustered}

--: merge ProductSales
--: key pane_start, sku, source_partition
--: newest final, next_offset
--: stage pane_start BIGINT, sku {text}, source_partition BIGINT, final BIGINT, next_offset BIGINT
--: stage units BIGINT, revenue_e4 BIGINT
INSERT INTO {product_sales} AS kept
  (window_start, sku, source_partition, final, next_offset, units, revenue_e4)
SELECT pane_start, sku, source_partition, final, next_offset, units, revenue_e4
FROM {staging} WHERE true {sorted pane_start, sku, source_partition}
ON CONFLICT (window_start, sku, source_partition) DO UPDATE SET
  final = excluded.final, next_offset = excluded.next_offset,
  units = excluded.units, revenue_e4 = excluded.revenue_e4
WHERE (excluded.final, excluded.next_offset) > (kept.final, kept.next_offset)

--: read product_sales
SELECT {utc window_start} AS window_start, sku, CAST(sum(units) AS BIGINT) AS units,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, min(final) = 1 AS final,
  window_start AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4
FROM {product_sales} AS part GROUP BY part.window_start, sku

--: read product_sales_by_hour
SELECT {utc hour} AS window_start, sku, CAST(sum(units) AS BIGINT) AS units,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, min(final) = 1 AS final,
  hour AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4
FROM (SELECT window_start - window_start % 3600000 AS hour, sku, units, revenue_e4, final
      FROM {product_sales}) AS part
GROUP BY hour, sku

--: read product_sales_by_day
SELECT {utc day} AS window_start, sku, CAST(sum(units) AS BIGINT) AS units,
  round(sum(revenue_e4) / 10000.0, 4) AS revenue, min(final) = 1 AS final,
  day AS window_start_ms, CAST(sum(revenue_e4) AS BIGINT) AS revenue_e4
FROM (SELECT window_start - window_start % 86400000 AS day, sku, units, revenue_e4, final
      FROM {product_sales}) AS part
GROUP BY day, sku

--: gauge penstock_business_product_revenue sku : Revenue of the 10 best products of the last 24 hours of events.
SELECT sku, sum(revenue_e4) / 10000.0 FROM {product_sales}
WHERE window_start > (SELECT max(window_start) - 86400000 FROM {product_sales})
GROUP BY sku ORDER BY 2 DESC, 1 LIMIT 10

--: gauge penstock_business_units : Units sold, late orders not counted.
SELECT coalesce(sum(units), 0) FROM {product_sales}
