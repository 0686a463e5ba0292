-- Extensions and the schemas that other programs of the stack expect to find.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS citext;

CREATE SCHEMA auth;
CREATE SCHEMA storage;
CREATE SCHEMA hdb_catalog;
CREATE SCHEMA hdb_views;
