-- The same checks in other words: for IN with more than two values a table in memory is made whenever a
-- row is written, which takes longer than to write it.

-- How SQLite has checks changed in place (ALTER TABLE, section 7): no row is touched.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''unscanned'', ''queued'', ''deferred'', ''held'',
                        ''quarantined'', ''delivered'', ''failed'', ''cancelled'')',
    'state = ''unscanned'' OR state = ''queued'' OR state = ''deferred'' OR state = ''held''
                        OR state = ''quarantined'' OR state = ''delivered'' OR state = ''failed''
                        OR state = ''cancelled''')
    WHERE type = 'table' AND name = 'recipient';

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''delivered'', ''failed'', ''cancelled'')',
    'state = ''delivered'' OR state = ''failed'' OR state = ''cancelled''')
    WHERE type = 'table' AND name = 'recipient';

UPDATE sqlite_schema SET sql = replace(sql,
    'deliver_by_mode IN (''R'', ''N'', ''RT'', ''NT'')',
    'deliver_by_mode = ''R'' OR deliver_by_mode = ''N'' OR deliver_by_mode = ''RT''
        OR deliver_by_mode = ''NT''')
    WHERE type = 'table' AND name = 'message';

-- From here on the new words are known.
PRAGMA writable_schema = RESET;
