-- order_values
-- How orders are spread over their value, by channel, in steps of fifty of the currency.
SELECT channel, CAST(floor(amount / 50) AS BIGINT) * 50 AS amount_from, count(*) AS orders, sum(amount) AS revenue
FROM orders
GROUP BY ALL
ORDER BY channel, amount_from
