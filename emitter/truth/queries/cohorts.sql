-- cohorts
-- Of the customers who signed up in a month: how many ordered so many months later, and for how much.
SELECT
    date_trunc('month', c.signed_up_at) AS signed_up,
    date_diff('month', c.signed_up_at, o.event_time) AS months_later,
    count(DISTINCT o.customer_id) AS customers,
    count(*) AS orders,
    sum(o.amount) AS revenue
FROM orders AS o
JOIN customers AS c USING (customer_id)
GROUP BY ALL
ORDER BY signed_up, months_later
