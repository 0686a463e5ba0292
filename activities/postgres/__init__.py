"""The hands that touch PostgreSQL: its server, its copies, its backups."""
