-- One turn of a user: a message is sent, the channel is marked as read, its last messages are shown.
-- For pgbench -M prepared: values are parameters there, and need no quotes.
\set member random(1, :members)
BEGIN;
SELECT channel_id, user_id FROM bench_member WHERE n = :member \gset
INSERT INTO nchat_messages (channel_id, user_id, content, content_plain)
VALUES (:channel_id, :user_id, 'bench says ' || :member || ' ' || md5(random()::text), 'bench says ' || :member)
RETURNING id \gset
UPDATE nchat_channel_members SET last_read_at = now(), last_read_message_id = :id, unread_count = 0
WHERE channel_id = :channel_id AND user_id = :user_id;
END;
SELECT id, user_id, content, created_at FROM nchat_messages
WHERE channel_id = :channel_id ORDER BY created_at DESC LIMIT 50;
