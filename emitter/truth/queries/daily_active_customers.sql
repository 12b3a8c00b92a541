-- daily_active_customers
-- Customers who ordered on each day, how many of them for the first time in the period, and their orders.
WITH days AS (
    SELECT customer_id, date_trunc('day', event_time) AS day, count(*) AS orders, sum(amount) AS revenue
    FROM orders
    GROUP BY ALL
), firsts AS (SELECT customer_id, min(day) AS first_day FROM days GROUP BY customer_id)
SELECT
    day,
    count(*) AS customers,
    count(*) FILTER (WHERE day = first_day) AS first_time,
    sum(orders) AS orders,
    sum(revenue) AS revenue
FROM days
JOIN firsts USING (customer_id)
GROUP BY day
ORDER BY day
