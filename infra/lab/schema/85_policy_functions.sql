-- What the policies ask. They live in schema auth, so a dump of public alone restores without most policies.
CREATE FUNCTION auth.user_id() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('hasura.user', true)::jsonb ->> 'x-hasura-user-id', '')::uuid
$$;
CREATE FUNCTION auth.user_role() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('hasura.user', true)::jsonb ->> 'x-hasura-role', 'anonymous')
$$;
CREATE FUNCTION auth.is_admin() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT auth.user_role() IN ('admin', 'owner')
$$;
CREATE FUNCTION auth.has_channel_access(channel uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT 1 FROM public.nchat_channels c WHERE c.id = channel AND c.type = 'public')
        OR EXISTS (SELECT 1 FROM public.nchat_channel_members m
                   WHERE m.channel_id = channel AND m.user_id = auth.user_id())
$$;
CREATE FUNCTION auth.has_channel_permission(channel uuid, permission text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (
        SELECT 1 FROM public.nchat_channel_members m
        WHERE m.channel_id = channel AND m.user_id = auth.user_id() AND (
            m.role IN ('owner', 'admin')
            OR (permission = 'write' AND m.can_write)
            OR (permission = 'manage' AND m.can_manage)
            OR (permission = 'delete' AND m.can_delete_messages)))
$$;
CREATE FUNCTION auth.is_workspace_member(workspace uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT 1 FROM public.nchat_workspace_members m
                   WHERE m.workspace_id = workspace AND m.user_id = auth.user_id())
$$;
