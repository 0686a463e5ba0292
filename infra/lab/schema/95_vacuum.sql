-- So that autovacuum does not rewrite the fixture while a recovery is measured.
VACUUM (ANALYZE);
