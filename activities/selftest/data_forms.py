"""What is taken away from a copy of the specimen, and the query that shows that it is gone."""

GONE: tuple[tuple[str, str, str, str, str], ...] = (
    # mutant, what, statement, what is to be seen as 't', proof that has to find it
    ("M8", "a table is missing", "DROP TABLE notes", "to_regclass('notes') IS NULL", "tables"),
    (
        "M9",
        "every seventh message is missing",
        "DELETE FROM messages WHERE id % 7 = 0",
        "(SELECT count(*) FROM messages WHERE id % 7 = 0) = 0",
        "rows",
    ),
    (
        "M10",
        "one message says something else",
        "UPDATE messages SET body = 'altered' WHERE id = 77",
        "(SELECT body FROM messages WHERE id = 77) = 'altered'",
        "digests",
    ),
    (
        "M10",
        "two messages have exchanged their words",
        "UPDATE messages m SET body = o.body FROM messages o WHERE (m.id, o.id) IN ((77, 78), (78, 77))",
        "(SELECT body FROM messages WHERE id = 77) LIKE 'specimen 78 %'",
        "digests",
    ),
    (
        "M13",
        "a right is missing",
        "REVOKE SELECT ON messages FROM specimen_reader",
        "NOT has_table_privilege('specimen_reader', 'messages', 'SELECT')",
        "objects",
    ),
    (
        "M13",
        "a policy is missing",
        "DROP POLICY own_notes ON notes",
        "NOT EXISTS (SELECT FROM pg_policy)",
        "objects",
    ),
    (
        "M13",
        "row security is switched off, and its policy is there",
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
        "NOT relrowsecurity AND EXISTS (SELECT FROM pg_policy) FROM pg_class WHERE oid = 'notes'::regclass",
        "objects",
    ),
    (
        "M13",
        "a column has lost its default",
        "ALTER TABLE messages ALTER id DROP DEFAULT",
        "NOT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = 'messages'::regclass)",
        "objects",
    ),
    (
        "M13",
        "an extension is missing",
        "DROP EXTENSION plpgsql",
        "NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'plpgsql')",
        "extensions",
    ),
    (
        "M13",
        "a sequence stands behind its table",
        "SELECT setval('messages_id_seq', 5)",
        "(SELECT last_value FROM messages_id_seq) = 5",
        "sequences",
    ),
    (
        "M13",
        "an index and a function are missing",
        "DROP INDEX messages_by_channel; DROP FUNCTION loud(text)",
        "to_regclass('messages_by_channel') IS NULL",
        "objects",
    ),
)
ROLES: tuple[tuple[str, str, str, str], ...] = (
    # what, statement, how it is undone, what is to be seen as 't'
    (
        "a membership is missing",
        "REVOKE specimen_group FROM specimen_reader",
        "GRANT specimen_group TO specimen_reader",
        "NOT pg_has_role('specimen_reader', 'specimen_group', 'MEMBER')",
    ),
    (
        "a role has gone",
        "ALTER ROLE specimen_group RENAME TO other_group",
        "ALTER ROLE other_group RENAME TO specimen_group",
        "to_regrole('specimen_group') IS NULL",
    ),
)

LYING = """
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'messages_pkey'::regclass;
INSERT INTO messages (channel_id, body, sent_at)
    SELECT 1, 'not in the index', now() FROM generate_series(1, 20);
UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'messages_pkey'::regclass
"""
"""While an index is not ready, rows do not get into it."""
LIES = """
count(*) = 20 AND (SELECT indisvalid FROM pg_index WHERE indexrelid = 'messages_pkey'::regclass)
  FROM messages WHERE body = 'not in the index'"""
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'messages_pkey'::regclass"
IS_INVALID = "NOT indisvalid FROM pg_index WHERE indexrelid = 'messages_pkey'::regclass"
ORPHANS = "SET session_replication_role = replica; DELETE FROM channels WHERE id = 7"
ORPHANED = """
count(*) > 0 AND (SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f')
  FROM messages WHERE channel_id = 7 AND NOT EXISTS (SELECT FROM channels WHERE id = 7)"""
