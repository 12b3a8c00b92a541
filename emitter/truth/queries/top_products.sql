-- top_products
-- The hundred products that brought the most money, with their pieces and orders.
WITH named AS (SELECT product_id, max_by(name, valid_from) AS name, max_by(category, valid_from) AS category FROM products GROUP BY product_id)
SELECT
    product_id,
    n.name,
    n.category,
    count(DISTINCT i.order_id) AS orders,
    sum(i.quantity) AS pieces,
    sum(i.amount) AS revenue
FROM order_items AS i
JOIN named AS n USING (product_id)
GROUP BY ALL
ORDER BY revenue DESC, product_id
LIMIT 100
