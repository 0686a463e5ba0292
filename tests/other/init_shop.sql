CREATE TABLE orders (id bigserial PRIMARY KEY, item text NOT NULL, at timestamptz NOT NULL DEFAULT now());
INSERT INTO orders (item, at) SELECT 'item ' || n, timestamptz '2026-01-01' + n * interval '1 minute'
    FROM generate_series(1, 40000) n;
CREATE DATABASE billing;
\connect billing
CREATE TABLE invoices (id bigserial PRIMARY KEY, total numeric NOT NULL, note text);
INSERT INTO invoices (total, note) SELECT n * 1.5, repeat('x', 100) FROM generate_series(1, 20000) n;
