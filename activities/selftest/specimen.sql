-- A small chat as a stack's database holds one: every kind of thing that a mutant takes away, and every state
-- that is sound although it looks strange (deleted users, messages without an author, dates in the future).
CREATE ROLE specimen_reader NOLOGIN;
CREATE ROLE specimen_group NOLOGIN;
GRANT specimen_group TO specimen_reader;
CREATE TABLE authors (
    id bigserial PRIMARY KEY,
    name text NOT NULL UNIQUE,
    deleted_at timestamptz
);
CREATE TABLE channels (id int PRIMARY KEY, topic text NOT NULL);
CREATE TABLE messages (
    id bigserial PRIMARY KEY,
    channel_id int NOT NULL REFERENCES channels,
    author_id bigint REFERENCES authors ON DELETE SET NULL,
    body text NOT NULL,
    sent_at timestamptz NOT NULL
);
CREATE INDEX messages_by_channel ON messages (channel_id, sent_at);
CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_notes ON notes USING (true);
GRANT SELECT ON messages TO specimen_reader;
CREATE FUNCTION loud(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
INSERT INTO authors (name) SELECT 'author ' || n FROM generate_series(1, 300) n;
INSERT INTO channels SELECT n, 'topic ' || n FROM generate_series(1, 20) n;
INSERT INTO messages (channel_id, author_id, body, sent_at)
    SELECT 1 + n % 20, 1 + n % 300, 'specimen ' || n || ' ' || repeat(md5(n::text), 5),
           timestamptz '2026-01-01 00:00:00+00' + n * interval '1 minute'
      FROM generate_series(1, 6000) n;
INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 50) n;
UPDATE authors SET deleted_at = '2026-02-01 00:00:00+00' WHERE id BETWEEN 10 AND 20;
DELETE FROM authors WHERE id BETWEEN 30 AND 40;
INSERT INTO messages (channel_id, author_id, body, sent_at)
    VALUES (1, 1, 'to be sent in a thousand years', '3026-01-01 00:00:00+00');
