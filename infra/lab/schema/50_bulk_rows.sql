-- Chat of the wanted size, made by the server itself before keys and indexes exist. The settings
-- lab.users, lab.channels, lab.messages, lab.files, lab.notifications and lab.audit_logs give the counts;
-- the same counts give the same rows.
SET synchronous_commit = off;

CREATE FUNCTION pg_temp.setting(name text) RETURNS int LANGUAGE sql STABLE AS $$
    SELECT current_setting('lab.' || name)::int
$$;
-- A uuid from a kind and a number, so that rows can name each other without a lookup.
CREATE FUNCTION pg_temp.key(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT md5(kind || n)::uuid
$$;
CREATE TEMP TABLE words AS
SELECT array_agg(word) AS list FROM unnest(string_to_array(
    'the team plan release server meeting coffee today tomorrow please review change design question answer build '
    'deploy customer ticket invoice channel message search result backup restore window morning weekend report draft '
    'number status update feature branch merge test coverage latency budget travel hotel train lunch office remote '
    'camera keyboard screen light paper printer summer winter river mountain garden bicycle market music picture story '
    'because although before after under between maybe always never often almost ready broken fixed slow quick', ' '))
    AS word;
-- Eight sentences of about 60 characters for each of 4096 numbers; a message takes a few of them.
CREATE TEMP TABLE sentences AS
SELECT n AS k, (SELECT string_agg(list[1 + (('x' || substr(md5(n || '/' || i), 1, 7))::bit(28)::int % array_length(list, 1))], ' ')
           FROM generate_series(1, 9) AS i) AS text
FROM words, generate_series(0, 4095) AS n;
CREATE UNIQUE INDEX ON sentences (k);
ANALYZE sentences;

INSERT INTO auth.users (id, email, display_name, locale, email_verified, created_at)
SELECT pg_temp.key('user', n), 'user' || n || '@example.org', 'User ' || n, 'en', true,
       now() - (n % 700) * interval '1 day'
FROM generate_series(1, pg_temp.setting('users')) AS n;
INSERT INTO auth.user_roles (user_id, role)
SELECT pg_temp.key('user', n), 'user' FROM generate_series(1, pg_temp.setting('users')) AS n;
INSERT INTO nchat_users (id, email, display_name, username, email_verified, created_at)
SELECT pg_temp.key('user', n), 'user' || n || '@example.org', 'User ' || n, 'user' || n, true,
       now() - (n % 700) * interval '1 day'
FROM generate_series(1, pg_temp.setting('users')) AS n;
INSERT INTO nchat_profiles (user_id, bio) SELECT id, 'Likes ' || username FROM nchat_users;
INSERT INTO nchat_presence (user_id, status) SELECT id, 'offline' FROM nchat_users;
INSERT INTO nchat_user_settings (user_id) SELECT id FROM nchat_users;

INSERT INTO nchat_workspaces (id, name, slug, owner_id)
VALUES (pg_temp.key('workspace', 1), 'Demo workspace', 'demo', '2299117e-0b78-4133-8f2f-4879e682f3b5');
INSERT INTO nchat_workspace_members (workspace_id, user_id)
SELECT pg_temp.key('workspace', 1), id FROM nchat_users;
INSERT INTO nchat_subscriptions (workspace_id, plan_id, status)
VALUES (pg_temp.key('workspace', 1), '00000000-0000-0000-0000-000000000002', 'active');
INSERT INTO nchat_categories (id, workspace_id, name, position)
SELECT pg_temp.key('category', n), pg_temp.key('workspace', 1), 'Category ' || n, n FROM generate_series(1, 5) AS n;
INSERT INTO nchat_channels (id, workspace_id, category_id, name, slug, created_by)
SELECT pg_temp.key('channel', n), pg_temp.key('workspace', 1), pg_temp.key('category', 1 + n % 5),
       'channel-' || n, 'channel-' || n, '2299117e-0b78-4133-8f2f-4879e682f3b5'
FROM generate_series(1, pg_temp.setting('channels')) AS n;
INSERT INTO nchat_channel_members (channel_id, user_id, can_read, can_write)
SELECT pg_temp.key('channel', c), pg_temp.key('user', u), true, true
FROM generate_series(1, pg_temp.setting('channels')) AS c,
     LATERAL (SELECT DISTINCT 1 + (c * 37 + k * 11) % pg_temp.setting('users') AS u FROM generate_series(1, 20) AS k) AS m;

-- Every 50th message begins a thread and every 50th after it answers there; every 97th has lost its author;
-- every 211th is soft-deleted. Those are legitimate states that a check has to accept.
INSERT INTO nchat_messages (id, channel_id, user_id, content, content_html, content_plain, is_deleted, deleted_at, created_at, updated_at)
SELECT pg_temp.key('message', n), pg_temp.key('channel', 1 + n % pg_temp.setting('channels')),
       CASE WHEN n % 97 <> 0 THEN pg_temp.key('user', 1 + n % pg_temp.setting('users')) END,
       body, '<p>' || body || '</p>', body,
       CASE WHEN n % 211 = 0 THEN true WHEN n % 3 = 0 THEN false END,
       CASE WHEN n % 211 = 0 THEN now() END, at, at
FROM (SELECT n, concat_ws('. ', a.text, b.text, c.text, CASE WHEN n % 2 = 0 THEN a.text || '. ' || b.text END) AS body,
             now() - (pg_temp.setting('messages') - n) * interval '3 minutes' - interval '1 hour' AS at
      FROM generate_series(1, pg_temp.setting('messages')) AS n
      JOIN sentences a ON a.k = (n::bigint * 31) % 4096
      JOIN sentences b ON b.k = (n::bigint * 17 + n / 4096) % 4096
      JOIN sentences c ON c.k = (n::bigint * 7 + 5) % 4096) AS made;
INSERT INTO nchat_threads (id, channel_id, root_message_id, name, created_at)
SELECT pg_temp.key('thread', n), pg_temp.key('channel', 1 + n % pg_temp.setting('channels')), pg_temp.key('message', n),
       'Thread ' || n, now() - interval '1 hour'
FROM generate_series(50, pg_temp.setting('messages') - 50, 50) AS n;
UPDATE nchat_messages m SET thread_id = pg_temp.key('thread', n), channel_id = pg_temp.key('channel', 1 + n % pg_temp.setting('channels'))
FROM generate_series(50, pg_temp.setting('messages') - 50, 50) AS n
WHERE m.id = pg_temp.key('message', n + 1);
INSERT INTO nchat_thread_members (thread_id, user_id)
SELECT pg_temp.key('thread', n), pg_temp.key('user', 1 + n % pg_temp.setting('users'))
FROM generate_series(50, pg_temp.setting('messages') - 50, 50) AS n;
INSERT INTO nchat_reactions (message_id, user_id, emoji)
SELECT pg_temp.key('message', n), pg_temp.key('user', 1 + (n * 13) % pg_temp.setting('users')), (ARRAY['+1', 'heart', 'smile'])[1 + n % 3]
FROM generate_series(1, pg_temp.setting('messages')) AS n;
INSERT INTO nchat_pinned_messages (channel_id, message_id, pinned_by)
SELECT m.channel_id, m.id, '2299117e-0b78-4133-8f2f-4879e682f3b5'
FROM nchat_messages m JOIN generate_series(1, pg_temp.setting('channels')) AS n ON m.id = pg_temp.key('message', n);

-- One row for each object that the lab puts into the object store; infra/lab/seed.py makes the same bytes.
INSERT INTO nchat_attachments (id, message_id, user_id, filename, original_filename, file_path, url, type, mime_type, size_bytes, is_processed)
SELECT key, pg_temp.key('message', n), pg_temp.key('user', 1 + n % pg_temp.setting('users')), 'file-' || n || '.bin', 'file-' || n || '.bin',
       'uploads/seed/' || key, '/functions/files/' || key, 'document', 'application/octet-stream', 1024 + (n % 8) * 512, true
FROM (SELECT n, pg_temp.key('file', n) AS key FROM generate_series(1, pg_temp.setting('files')) AS n) AS made;

BEGIN;
TRUNCATE nchat_notifications;
INSERT INTO nchat_notifications (user_id, type, channel_id, message_id, actor_id, title, body, data, created_at)
SELECT pg_temp.key('user', 1 + n % pg_temp.setting('users')), 'message',
       pg_temp.key('channel', 1 + n % pg_temp.setting('channels')), pg_temp.key('message', 1 + n % pg_temp.setting('messages')),
       pg_temp.key('user', 1 + (n * 7) % pg_temp.setting('users')), 'New message ' || n, s.text,
       jsonb_build_object('n', n, 'preview', s.text), now() - n * interval '20 seconds'
FROM generate_series(1, pg_temp.setting('notifications')) AS n JOIN sentences s ON s.k = n % 4096;
COMMIT;
-- With wal_level=minimal, rows of a table that is emptied in the same transaction are not logged.
BEGIN;
TRUNCATE nchat_audit_logs;
INSERT INTO nchat_audit_logs (user_id, action, entity_type, entity_id, channel_id, old_values, new_values, ip_address, user_agent, request_id, created_at)
SELECT pg_temp.key('user', 1 + n % pg_temp.setting('users')), 'update', 'message', pg_temp.key('message', 1 + n % pg_temp.setting('messages')),
       pg_temp.key('channel', 1 + n % pg_temp.setting('channels')),
       jsonb_build_object('content', concat_ws('. ', s.text, t.text, s.text, t.text, s.text, t.text, s.text, t.text), 'revision', n, 'channel', n % 40),
       jsonb_build_object('content', concat_ws('. ', t.text, s.text, t.text, s.text, t.text, s.text, t.text, s.text, t.text), 'revision', n + 1, 'channel', n % 40),
       ('10.' || n % 250 || '.' || n % 240 || '.7')::inet,
       'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 chat/' || n % 20,
       substr(md5('request' || n), 1, 32), now() - n * interval '11 seconds'
FROM generate_series(1, pg_temp.setting('audit_logs')) AS n
JOIN sentences s ON s.k = n % 4096 JOIN sentences t ON t.k = (n::bigint * 5) % 4096;
COMMIT;

-- The vector is what the trigger would fill in, were it there already.
INSERT INTO nchat_search_index (entity_type, entity_id, channel_id, user_id, content, content_tsv)
SELECT 'message', id, channel_id, user_id, content, to_tsvector('english', ' ' || content)
FROM nchat_messages WHERE is_deleted IS NOT TRUE;
