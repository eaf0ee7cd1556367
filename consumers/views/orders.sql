--: view orders
--: about One row an order: its latest state, late events included.
--: reads orders
-- Offsets don't compare across partitions, so each event type owns its columns, and the newest of its events (by
-- time, then id) wins. The status follows from which of them are there, by rank; cancelled wins.

--: table orders
CREATE TABLE IF NOT EXISTS {orders} (
  order_id {text} NOT NULL PRIMARY KEY,
  placed_at BIGINT, placed_id {text}, customer_id {text}, country {text}, currency {text}, amount_e4 BIGINT,
  paid_at BIGINT, paid_id {text}, method {text},
  shipped_at BIGINT, shipped_id {text}, carrier {text},
  cancelled_at BIGINT, cancelled_id {text}, cancel_reason {text},
  cancelled_country {text}, cancelled_currency {text}, cancelled_e4 BIGINT
) {clustered}

--: merge OrderPlaced
--: key order_id
--: newest occurred_at, event_id
--: stage order_id {text}, occurred_at BIGINT, event_id {text}, customer_id {text}
--: stage country {text}, currency {text}, amount_e4 BIGINT
INSERT INTO {orders} AS kept (order_id, placed_at, placed_id, customer_id, country, currency, amount_e4)
SELECT order_id, occurred_at, event_id, customer_id, country, currency, amount_e4
FROM {staging} WHERE true {sorted order_id}
ON CONFLICT (order_id) DO UPDATE SET
  placed_at = excluded.placed_at, placed_id = excluded.placed_id, customer_id = excluded.customer_id,
  country = excluded.country, currency = excluded.currency, amount_e4 = excluded.amount_e4
WHERE kept.placed_at IS NULL OR (excluded.placed_at, excluded.placed_id) > (kept.placed_at, kept.placed_id)

--: merge OrderPaid
--: key order_id
--: newest occurred_at, event_id
--: stage order_id {text}, occurred_at BIGINT, event_id {text}, method {text}
INSERT INTO {orders} AS kept (order_id, paid_at, paid_id, method)
SELECT order_id, occurred_at, event_id, method
FROM {staging} WHERE true {sorted order_id}
ON CONFLICT (order_id) DO UPDATE SET
  paid_at = excluded.paid_at, paid_id = excluded.paid_id, method = excluded.method
WHERE kept.paid_at IS NULL OR (excluded.paid_at, excluded.paid_id) > (kept.paid_at, kept.paid_id)

--: merge OrderShipped
--: key order_id
--: newest occurred_at, event_id
--: stage order_id {text}, occurred_at BIGINT, event_id {text}, carrier {text}
INSERT INTO {orders} AS kept (order_id, shipped_at, shipped_id, carrier)
SELECT order_id, occurred_at, event_id, carrier
FROM {staging} WHERE true {sorted order_id}
ON CONFLICT (order_id) DO UPDATE SET
  shipped_at = excluded.shipped_at, shipped_id = excluded.shipped_id, carrier = excluded.carrier
WHERE kept.shipped_at IS NULL OR (excluded.shipped_at, excluded.shipped_id) > (kept.shipped_at, kept.shipped_id)

--: merge OrderCancelled
--: key order_id
--: newest occurred_at, event_id
--: stage order_id {text}, occurred_at BIGINT, event_id {text}, reason {text}
--: stage country {text}, currency {text}, amount_e4 BIGINT
INSERT INTO {orders} AS kept
  (order_id, cancelled_at, cancelled_id, cancel_reason, cancelled_country, cancelled_currency, cancelled_e4)
SELECT order_id, occurred_at, event_id, reason, country, currency, amount_e4
FROM {staging} WHERE true {sorted order_id}
ON CONFLICT (order_id) DO UPDATE SET
  cancelled_at = excluded.cancelled_at, cancelled_id = excluded.cancelled_id, cancel_reason = excluded.cancel_reason,
  cancelled_country = excluded.cancelled_country, cancelled_currency = excluded.cancelled_currency,
  cancelled_e4 = excluded.cancelled_e4
WHERE kept.cancelled_at IS NULL
  OR (excluded.cancelled_at, excluded.cancelled_id) > (kept.cancelled_at, kept.cancelled_id)

--: read orders
-- A cancellation of an order that was never seen placed (a return) says itself where and how much.
SELECT order_id, customer_id,
  CASE WHEN placed_at IS NULL THEN cancelled_country ELSE country END AS country,
  CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled' WHEN shipped_at IS NOT NULL THEN 'shipped'
    WHEN paid_at IS NOT NULL THEN 'paid' ELSE 'placed' END AS status,
  CASE WHEN placed_at IS NULL THEN cancelled_currency ELSE currency END AS currency,
  round(CASE WHEN placed_at IS NULL THEN cancelled_e4 ELSE amount_e4 END / 10000.0, 4) AS amount,
  CASE WHEN placed_at IS NULL THEN cancelled_e4 ELSE amount_e4 END AS amount_e4,
  {utc placed_at} AS placed_at, {utc paid_at} AS paid_at,
  {utc shipped_at} AS shipped_at, {utc cancelled_at} AS cancelled_at,
  placed_at AS placed_at_ms, paid_at AS paid_at_ms, shipped_at AS shipped_at_ms, cancelled_at AS cancelled_at_ms,
  method, carrier, cancel_reason, round(cancelled_e4 / 10000.0, 4) AS cancelled_amount, cancelled_e4
FROM {orders}

--: gauge penstock_business_orders status : Orders by their status now.
SELECT CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled' WHEN shipped_at IS NOT NULL THEN 'shipped'
  WHEN paid_at IS NOT NULL THEN 'paid' ELSE 'placed' END AS status, count(*)
FROM {orders} GROUP BY 1
