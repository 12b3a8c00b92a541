-- repeat_purchases
-- How many customers ordered how often, and the days that lay between two of their orders.
WITH gaps AS (
    SELECT
        customer_id,
        amount,
        date_diff('second', lag(event_time) OVER (PARTITION BY customer_id ORDER BY event_time, order_id), event_time)
            AS gap_seconds
    FROM orders
), customers_of AS (
    SELECT
        customer_id,
        count(*) AS orders,
        sum(amount) AS revenue,
        sum(gap_seconds) AS gaps_seconds,
        count(gap_seconds) AS gaps
    FROM gaps
    GROUP BY customer_id
)
SELECT
    orders,
    count(*) AS customers,
    sum(revenue) AS revenue,
    round(sum(gaps_seconds) / nullif(sum(gaps), 0) / 86400, 2) AS mean_days_between
FROM customers_of
GROUP BY orders
ORDER BY orders
