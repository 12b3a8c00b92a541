-- payment_failures
-- Payments of each day by method: attempts, how many were declined, and the share of those.
SELECT
    date_trunc('day', event_time) AS day,
    method,
    count(*) FILTER (WHERE status = 'attempted') AS attempts,
    count(*) FILTER (WHERE status = 'declined') AS declined,
    round(count(*) FILTER (WHERE status = 'declined') / nullif(count(*) FILTER (WHERE status = 'attempted'), 0), 4)
        AS declined_share
FROM payments
GROUP BY ALL
ORDER BY day, method
