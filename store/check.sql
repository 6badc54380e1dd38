-- Proof that the rows agree. Each query's one column is the sentence about a row that is wrong.
-- The arithmetic of minutes is written here a second time on purpose: a mistake in the code that
-- bills must not be in what proves the bills.

-- A balance is the sum of its ledger, and what was last written of the account says it.
SELECT 'account ' || account_id || ': balance ' || balance || ', ledger ' || total
FROM (
    SELECT a.account_id, a.balance, coalesce(sum(l.amount), 0) AS total
    FROM accounts a LEFT JOIN ledger l USING (account_id) GROUP BY a.account_id
)
WHERE balance <> total OR balance < 0;

SELECT 'account ' || account_id || ': balance ' || balance || ', but no ledger line says so'
FROM accounts a
WHERE EXISTS (SELECT 1 FROM ledger l WHERE l.account_id = a.account_id)
    AND NOT EXISTS (
        SELECT 1 FROM ledger l WHERE l.account_id = a.account_id AND l.balance_after = a.balance
    );

-- Trial credits come once, with the approval.
SELECT 'account ' || account_id || ': ' || count(*) || ' trial lines'
    || CASE WHEN approved_at IS NULL THEN ', never approved' ELSE '' END
FROM ledger JOIN accounts USING (account_id)
WHERE kind = 'trial'
GROUP BY account_id HAVING count(*) > 1 OR approved_at IS NULL;

-- A line about a rental is its own account's.
SELECT 'ledger line ' || l.id || ': of account ' || l.account_id || ', but rental ' || r.pod_id
    || ' is of ' || r.account_id
FROM ledger l JOIN rentals r USING (pod_id)
WHERE l.account_id <> r.account_id;

-- A bill is the sum of its lines, and costs what its minutes cost. A refund takes minutes back.
SELECT 'rental ' || pod_id || ': cost ' || cost || ' for ' || charged_minutes || ' min, ledger '
    || paid || ' for ' || minutes || ' min, at ' || rate || ' an hour'
FROM (
    SELECT r.pod_id, r.cost, r.charged_minutes,
        r.price_per_hour * max(1, r.gpu_count) AS rate,
        coalesce(sum(CASE l.kind WHEN 'usage' THEN l.minutes ELSE -l.minutes END), 0) AS minutes,
        coalesce(-sum(l.amount), 0) AS paid
    FROM rentals r LEFT JOIN ledger l ON l.pod_id = r.pod_id AND l.kind IN ('usage', 'refund')
    GROUP BY r.pod_id
)
WHERE cost <> paid OR charged_minutes <> minutes OR cost <> rate * charged_minutes / 60;

-- A usage line holds the minutes that began in its hour, at their price: from `since` of the
-- rental's minutes, which had begun before that hour, up to `upto`.
SELECT 'ledger line ' || id || ': ' || minutes || ' min for ' || -amount || ' of rental ' || pod_id
    || coalesce(', should be ' || (upto - since) || ' min for '
        || (rate * upto / 60 - rate * since / 60), ', which never ran')
FROM (
    SELECT l.id, l.pod_id, l.minutes, l.amount, r.rate,
        min(r.used, max(0, (l.hour * 3600000 - r.started_at + 59999) / 60000)) AS since,
        min(r.used, max(0, ((l.hour + 1) * 3600000 - r.started_at + 59999) / 60000)) AS upto
    FROM ledger l
    JOIN (
        SELECT u.pod_id, o.started_at, sum(u.minutes) AS used,
            o.price_per_hour * max(1, o.gpu_count) AS rate
        FROM ledger u JOIN rentals o USING (pod_id)
        WHERE u.kind = 'usage' GROUP BY u.pod_id
    ) r USING (pod_id)
    WHERE l.kind = 'usage'
)
WHERE minutes <> upto - since OR -amount <> rate * upto / 60 - rate * since / 60
    OR upto IS NULL;

-- An ended rental paid every minute that began while it ran. The minute that it had no credits
-- for is not among them, unless the container had finished before, and the last one may have been
-- given back if the operator was to blame.
SELECT 'rental ' || pod_id || ': charged ' || charged_minutes || ' min of ' || begun
    || ' (' || end_reason || ')'
FROM (
    SELECT pod_id, charged_minutes, end_reason,
        coalesce(finished_at < ended_at, 0) AS over_before, coalesce(
        max(0, (min(ended_at, coalesce(finished_at, ended_at)) - ran_since + 60000)
            / 60000), 0
    ) AS begun
    FROM rentals WHERE ended_at IS NOT NULL
)
WHERE charged_minutes <> max(0, begun - (
    (end_reason = 'out_of_credits' AND NOT over_before)
    OR end_reason IN ('node_lost', 'pod_lost')
    OR (end_reason LIKE 'evicted_by_kubelet:%' AND end_reason NOT IN (
        'evicted_by_kubelet:OutOfephemeral-storage', 'evicted_by_kubelet:OOMKilled'
    ))
));

-- A rental's times are in order, on the clock as it was set at its end.
SELECT 'rental ' || pod_id || ': created at ' || created_at || ', started at '
    || coalesce(started_at, '-') || ', finished at ' || coalesce(finished_at, '-')
    || ', ended at ' || coalesce(ended_at, '-')
FROM rentals
WHERE started_at < created_at + stepped_before_start_ms
    OR finished_at < ran_since
    OR ended_at < created_at + stepped_ms;

-- A live rental has its newest key, an ended one none.
SELECT 'rental ' || r.pod_id || ': ' || count(k.id) || ' live keys, of generation '
    || coalesce(max(k.generation), '-') || ', should be ' || r.key_generation
FROM rentals r LEFT JOIN keys k ON k.pod_id = r.pod_id AND k.retired_at IS NULL
GROUP BY r.pod_id
HAVING count(k.id) <> (r.ended_at IS NULL) OR max(k.generation) <> r.key_generation;

-- What was done to a rental was done to its own account's, and it has ended.
SELECT 'action ' || x.id || ': ' || x.action || ' rental ' || x.pod_id || ' of ' || x.account_id
    || ', which is of ' || r.account_id || CASE WHEN r.ended_at IS NULL THEN ' and live' ELSE '' END
FROM actions x JOIN rentals r USING (pod_id)
WHERE x.account_id <> r.account_id OR r.ended_at IS NULL;
