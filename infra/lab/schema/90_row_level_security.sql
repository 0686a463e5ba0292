-- Row level security on every table of the application; forced on one alone. NULL in is_deleted hides a
-- message from ordinary roles, as in the original.

ALTER TABLE nchat_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_presence ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_user_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_push_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_workspace_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_workspace_invites ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_categories ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_channel_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_threads ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_thread_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_reactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_attachments ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_media ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_pinned_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_bookmarks ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_custom_emojis ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_user_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_permissions ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_incoming_webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_bots ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_search_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_search_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_app_configuration ENABLE ROW LEVEL SECURITY;
ALTER TABLE nchat_search_history FORCE ROW LEVEL SECURITY;

CREATE POLICY users_select ON nchat_users FOR SELECT
    USING (deleted_at IS NULL);
CREATE POLICY users_update ON nchat_users FOR UPDATE
    USING (id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY users_admin ON nchat_users FOR ALL
    USING (auth.is_admin());
CREATE POLICY profiles_select ON nchat_profiles FOR SELECT
    USING (true);
CREATE POLICY profiles_write ON nchat_profiles FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY presence_select ON nchat_presence FOR SELECT
    USING (true);
CREATE POLICY presence_write ON nchat_presence FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY user_settings_select ON nchat_user_settings FOR SELECT
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY user_settings_write ON nchat_user_settings FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY sessions_select ON nchat_sessions FOR SELECT
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY sessions_write ON nchat_sessions FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY push_subscriptions_select ON nchat_push_subscriptions FOR SELECT
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY push_subscriptions_write ON nchat_push_subscriptions FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY workspaces_select ON nchat_workspaces FOR SELECT
    USING (is_public OR auth.is_workspace_member(id));
CREATE POLICY workspaces_update ON nchat_workspaces FOR UPDATE
    USING (owner_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY workspace_members_select ON nchat_workspace_members FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY workspace_members_admin ON nchat_workspace_members FOR ALL
    USING (auth.is_admin());
CREATE POLICY workspace_invites_select ON nchat_workspace_invites FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY workspace_invites_admin ON nchat_workspace_invites FOR ALL
    USING (auth.is_admin());
CREATE POLICY categories_select ON nchat_categories FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY categories_admin ON nchat_categories FOR ALL
    USING (auth.is_admin());
CREATE POLICY channels_select ON nchat_channels FOR SELECT
    USING (type = 'public' OR auth.has_channel_access(id));
CREATE POLICY channels_insert ON nchat_channels FOR INSERT
    WITH CHECK (auth.user_id() IS NOT NULL);
CREATE POLICY channels_update ON nchat_channels FOR UPDATE
    USING (auth.has_channel_permission(id, 'manage') OR auth.is_admin());
CREATE POLICY channels_delete ON nchat_channels FOR DELETE
    USING (auth.is_admin());
CREATE POLICY channel_members_select ON nchat_channel_members FOR SELECT
    USING (auth.has_channel_access(channel_id));
CREATE POLICY channel_members_insert ON nchat_channel_members FOR INSERT
    WITH CHECK (auth.has_channel_access(channel_id));
CREATE POLICY channel_members_delete ON nchat_channel_members FOR DELETE
    USING (auth.has_channel_permission(channel_id, 'manage') OR auth.is_admin());
CREATE POLICY messages_select ON nchat_messages FOR SELECT
    USING (auth.has_channel_access(channel_id) AND NOT is_deleted);
CREATE POLICY messages_insert ON nchat_messages FOR INSERT
    WITH CHECK (user_id = (SELECT auth.user_id()) AND auth.has_channel_permission(channel_id, 'write'));
CREATE POLICY messages_update ON nchat_messages FOR UPDATE
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY messages_delete ON nchat_messages FOR DELETE
    USING (user_id = (SELECT auth.user_id()) OR auth.has_channel_permission(channel_id, 'delete'));
CREATE POLICY threads_select ON nchat_threads FOR SELECT
    USING (auth.has_channel_access(channel_id));
CREATE POLICY threads_insert ON nchat_threads FOR INSERT
    WITH CHECK (auth.has_channel_access(channel_id));
CREATE POLICY threads_delete ON nchat_threads FOR DELETE
    USING (auth.has_channel_permission(channel_id, 'manage') OR auth.is_admin());
CREATE POLICY thread_members_select ON nchat_thread_members FOR SELECT
    USING (true);
CREATE POLICY thread_members_insert ON nchat_thread_members FOR INSERT
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY reactions_select ON nchat_reactions FOR SELECT
    USING (true);
CREATE POLICY reactions_insert ON nchat_reactions FOR INSERT
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY reactions_delete ON nchat_reactions FOR DELETE
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY attachments_select ON nchat_attachments FOR SELECT
    USING (true);
CREATE POLICY attachments_insert ON nchat_attachments FOR INSERT
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY attachments_delete ON nchat_attachments FOR DELETE
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY media_select ON nchat_media FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY media_admin ON nchat_media FOR ALL
    USING (auth.is_admin());
CREATE POLICY pinned_messages_select ON nchat_pinned_messages FOR SELECT
    USING (auth.has_channel_access(channel_id));
CREATE POLICY pinned_messages_insert ON nchat_pinned_messages FOR INSERT
    WITH CHECK (auth.has_channel_access(channel_id));
CREATE POLICY pinned_messages_delete ON nchat_pinned_messages FOR DELETE
    USING (auth.has_channel_permission(channel_id, 'manage') OR auth.is_admin());
CREATE POLICY bookmarks_select ON nchat_bookmarks FOR SELECT
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY bookmarks_write ON nchat_bookmarks FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY notifications_select ON nchat_notifications FOR SELECT
    USING (user_id = (SELECT auth.user_id()) OR auth.is_admin());
CREATE POLICY notifications_write ON nchat_notifications FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY custom_emojis_select ON nchat_custom_emojis FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY custom_emojis_admin ON nchat_custom_emojis FOR ALL
    USING (auth.is_admin());
CREATE POLICY roles_select ON nchat_roles FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY roles_admin ON nchat_roles FOR ALL
    USING (auth.is_admin());
CREATE POLICY user_roles_select ON nchat_user_roles FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY user_roles_admin ON nchat_user_roles FOR ALL
    USING (auth.is_admin());
CREATE POLICY permissions_select ON nchat_permissions FOR SELECT
    USING (true);
CREATE POLICY permissions_admin ON nchat_permissions FOR ALL
    USING (auth.is_admin());
CREATE POLICY plans_select ON nchat_plans FOR SELECT
    USING (true);
CREATE POLICY plans_admin ON nchat_plans FOR ALL
    USING (auth.is_admin());
CREATE POLICY subscriptions_select ON nchat_subscriptions FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY subscriptions_admin ON nchat_subscriptions FOR ALL
    USING (auth.is_admin());
CREATE POLICY invoices_select ON nchat_invoices FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY invoices_admin ON nchat_invoices FOR ALL
    USING (auth.is_admin());
CREATE POLICY integrations_select ON nchat_integrations FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY integrations_admin ON nchat_integrations FOR ALL
    USING (auth.is_admin());
CREATE POLICY webhooks_select ON nchat_webhooks FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY webhooks_admin ON nchat_webhooks FOR ALL
    USING (auth.is_admin());
CREATE POLICY incoming_webhooks_select ON nchat_incoming_webhooks FOR SELECT
    USING (auth.is_workspace_member(workspace_id));
CREATE POLICY incoming_webhooks_admin ON nchat_incoming_webhooks FOR ALL
    USING (auth.is_admin());
CREATE POLICY bots_select ON nchat_bots FOR SELECT
    USING (is_public OR owner_id = (SELECT auth.user_id()));
CREATE POLICY bots_write ON nchat_bots FOR ALL
    USING (owner_id = (SELECT auth.user_id()));
CREATE POLICY audit_logs_select ON nchat_audit_logs FOR SELECT
    USING (auth.is_admin());
CREATE POLICY search_index_select ON nchat_search_index FOR SELECT
    USING (channel_id IS NULL OR auth.has_channel_access(channel_id));
CREATE POLICY search_history_owner ON nchat_search_history FOR ALL
    USING (user_id = (SELECT auth.user_id()))
    WITH CHECK (user_id = (SELECT auth.user_id()));
CREATE POLICY app_configuration_select ON nchat_app_configuration FOR SELECT
    USING (true);
CREATE POLICY app_configuration_admin ON nchat_app_configuration FOR ALL
    USING (auth.is_admin());
