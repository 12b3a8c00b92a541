-- basket_pairs
-- The hundred pairs of products that were bought together in the most orders.
SELECT a.product_id AS product, b.product_id AS other, count(DISTINCT a.order_id) AS orders
FROM order_items AS a
JOIN order_items AS b ON a.order_id = b.order_id AND a.product_id < b.product_id
GROUP BY ALL
ORDER BY orders DESC, product, other
LIMIT 100
