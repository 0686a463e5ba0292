# Every door wants the password, the socket too: what tools that count on "trust" trip over.
cat >"$PGDATA/pg_hba.conf" <<RULES
local all all scram-sha-256
host all all all scram-sha-256
local replication all scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
RULES
