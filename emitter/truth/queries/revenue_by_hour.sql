-- revenue_by_hour
-- What was sold in each hour, by category: pieces, orders and money, at the prices of the items.
WITH categories AS (SELECT DISTINCT product_id, category FROM products)
SELECT
    date_trunc('hour', i.event_time) AS hour,
    c.category,
    count(DISTINCT i.order_id) AS orders,
    sum(i.quantity) AS pieces,
    sum(i.amount) AS revenue
FROM order_items AS i
JOIN categories AS c USING (product_id)
GROUP BY ALL
ORDER BY hour, category
