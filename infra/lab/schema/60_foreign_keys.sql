-- Foreign keys: none deferrable. Three of the SET NULL columns are NOT NULL, as in the original
-- (attachments.user_id, media.user_id, pinned_messages.pinned_by): deleting such a user fails.

ALTER TABLE nchat_profiles ADD CONSTRAINT nchat_profiles_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_presence ADD CONSTRAINT nchat_presence_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_presence ADD CONSTRAINT nchat_presence_current_channel_id_fkey
    FOREIGN KEY (current_channel_id) REFERENCES nchat_channels (id) ON DELETE SET NULL;
ALTER TABLE nchat_user_settings ADD CONSTRAINT nchat_user_settings_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_sessions ADD CONSTRAINT nchat_sessions_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_push_subscriptions ADD CONSTRAINT nchat_push_subscriptions_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_workspaces ADD CONSTRAINT nchat_workspaces_owner_id_fkey
    FOREIGN KEY (owner_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_workspace_members ADD CONSTRAINT nchat_workspace_members_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_workspace_members ADD CONSTRAINT nchat_workspace_members_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_workspace_members ADD CONSTRAINT nchat_workspace_members_banned_by_fkey
    FOREIGN KEY (banned_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_workspace_members ADD CONSTRAINT nchat_workspace_members_invited_by_fkey
    FOREIGN KEY (invited_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_workspace_invites ADD CONSTRAINT nchat_workspace_invites_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_workspace_invites ADD CONSTRAINT nchat_workspace_invites_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_workspace_invites ADD CONSTRAINT nchat_workspace_invites_revoked_by_fkey
    FOREIGN KEY (revoked_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_categories ADD CONSTRAINT nchat_categories_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_categories ADD CONSTRAINT nchat_categories_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_channels ADD CONSTRAINT nchat_channels_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_channels ADD CONSTRAINT nchat_channels_category_id_fkey
    FOREIGN KEY (category_id) REFERENCES nchat_categories (id) ON DELETE SET NULL;
ALTER TABLE nchat_channels ADD CONSTRAINT nchat_channels_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_channel_members ADD CONSTRAINT nchat_channel_members_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_channel_members ADD CONSTRAINT nchat_channel_members_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_channel_members ADD CONSTRAINT nchat_channel_members_invited_by_fkey
    FOREIGN KEY (invited_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_messages ADD CONSTRAINT nchat_messages_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_messages ADD CONSTRAINT nchat_messages_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_messages ADD CONSTRAINT nchat_messages_thread_id_fkey
    FOREIGN KEY (thread_id) REFERENCES nchat_threads (id) ON DELETE SET NULL;
ALTER TABLE nchat_messages ADD CONSTRAINT nchat_messages_parent_message_id_fkey
    FOREIGN KEY (parent_message_id) REFERENCES nchat_messages (id) ON DELETE SET NULL;
ALTER TABLE nchat_threads ADD CONSTRAINT nchat_threads_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_threads ADD CONSTRAINT nchat_threads_root_message_id_fkey
    FOREIGN KEY (root_message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_threads ADD CONSTRAINT nchat_threads_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_thread_members ADD CONSTRAINT nchat_thread_members_thread_id_fkey
    FOREIGN KEY (thread_id) REFERENCES nchat_threads (id) ON DELETE CASCADE;
ALTER TABLE nchat_thread_members ADD CONSTRAINT nchat_thread_members_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_thread_members ADD CONSTRAINT nchat_thread_members_last_read_message_id_fkey
    FOREIGN KEY (last_read_message_id) REFERENCES nchat_messages (id) ON DELETE SET NULL;
ALTER TABLE nchat_reactions ADD CONSTRAINT nchat_reactions_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_reactions ADD CONSTRAINT nchat_reactions_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_reactions ADD CONSTRAINT nchat_reactions_emoji_id_fkey
    FOREIGN KEY (emoji_id) REFERENCES nchat_custom_emojis (id) ON DELETE SET NULL;
ALTER TABLE nchat_attachments ADD CONSTRAINT nchat_attachments_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_attachments ADD CONSTRAINT nchat_attachments_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_media ADD CONSTRAINT nchat_media_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_media ADD CONSTRAINT nchat_media_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_pinned_messages ADD CONSTRAINT nchat_pinned_messages_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_pinned_messages ADD CONSTRAINT nchat_pinned_messages_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_pinned_messages ADD CONSTRAINT nchat_pinned_messages_pinned_by_fkey
    FOREIGN KEY (pinned_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_bookmarks ADD CONSTRAINT nchat_bookmarks_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_bookmarks ADD CONSTRAINT nchat_bookmarks_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_bookmarks ADD CONSTRAINT nchat_bookmarks_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_notifications ADD CONSTRAINT nchat_notifications_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_notifications ADD CONSTRAINT nchat_notifications_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_notifications ADD CONSTRAINT nchat_notifications_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES nchat_messages (id) ON DELETE CASCADE;
ALTER TABLE nchat_notifications ADD CONSTRAINT nchat_notifications_thread_id_fkey
    FOREIGN KEY (thread_id) REFERENCES nchat_threads (id) ON DELETE CASCADE;
ALTER TABLE nchat_notifications ADD CONSTRAINT nchat_notifications_actor_id_fkey
    FOREIGN KEY (actor_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_custom_emojis ADD CONSTRAINT nchat_custom_emojis_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_custom_emojis ADD CONSTRAINT nchat_custom_emojis_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_roles ADD CONSTRAINT nchat_roles_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_user_roles ADD CONSTRAINT nchat_user_roles_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_user_roles ADD CONSTRAINT nchat_user_roles_role_id_fkey
    FOREIGN KEY (role_id) REFERENCES nchat_roles (id) ON DELETE CASCADE;
ALTER TABLE nchat_user_roles ADD CONSTRAINT nchat_user_roles_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_user_roles ADD CONSTRAINT nchat_user_roles_granted_by_fkey
    FOREIGN KEY (granted_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_subscriptions ADD CONSTRAINT nchat_subscriptions_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_subscriptions ADD CONSTRAINT nchat_subscriptions_plan_id_fkey
    FOREIGN KEY (plan_id) REFERENCES nchat_plans (id) ON DELETE RESTRICT;
ALTER TABLE nchat_invoices ADD CONSTRAINT nchat_invoices_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_invoices ADD CONSTRAINT nchat_invoices_subscription_id_fkey
    FOREIGN KEY (subscription_id) REFERENCES nchat_subscriptions (id) ON DELETE SET NULL;
ALTER TABLE nchat_integrations ADD CONSTRAINT nchat_integrations_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_integrations ADD CONSTRAINT nchat_integrations_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_webhooks ADD CONSTRAINT nchat_webhooks_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_webhooks ADD CONSTRAINT nchat_webhooks_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_webhooks ADD CONSTRAINT nchat_webhooks_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_incoming_webhooks ADD CONSTRAINT nchat_incoming_webhooks_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_incoming_webhooks ADD CONSTRAINT nchat_incoming_webhooks_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_incoming_webhooks ADD CONSTRAINT nchat_incoming_webhooks_created_by_fkey
    FOREIGN KEY (created_by) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_bots ADD CONSTRAINT nchat_bots_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_bots ADD CONSTRAINT nchat_bots_owner_id_fkey
    FOREIGN KEY (owner_id) REFERENCES nchat_users (id) ON DELETE CASCADE;
ALTER TABLE nchat_audit_logs ADD CONSTRAINT nchat_audit_logs_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE SET NULL;
ALTER TABLE nchat_audit_logs ADD CONSTRAINT nchat_audit_logs_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_audit_logs ADD CONSTRAINT nchat_audit_logs_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE SET NULL;
ALTER TABLE nchat_audit_logs ADD CONSTRAINT nchat_audit_logs_target_user_id_fkey
    FOREIGN KEY (target_user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
ALTER TABLE nchat_search_index ADD CONSTRAINT nchat_search_index_workspace_id_fkey
    FOREIGN KEY (workspace_id) REFERENCES nchat_workspaces (id) ON DELETE CASCADE;
ALTER TABLE nchat_search_index ADD CONSTRAINT nchat_search_index_channel_id_fkey
    FOREIGN KEY (channel_id) REFERENCES nchat_channels (id) ON DELETE CASCADE;
ALTER TABLE nchat_search_index ADD CONSTRAINT nchat_search_index_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES nchat_users (id) ON DELETE SET NULL;
