-- Counters start as NULL and the triggers add to NULL, so they stay NULL until the first DELETE: as in
-- the original. No check may rely on them.

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE FUNCTION update_channel_message_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_channels SET message_count = message_count + 1, last_message_at = NEW.created_at,
            last_message_id = NEW.id WHERE id = NEW.channel_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_channels SET message_count = GREATEST(message_count - 1, 0) WHERE id = OLD.channel_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_thread_message_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_threads SET message_count = message_count + 1, last_message_at = NEW.created_at,
            last_message_id = NEW.id WHERE id = NEW.thread_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_threads SET message_count = GREATEST(message_count - 1, 0) WHERE id = OLD.thread_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_message_reaction_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_messages SET reaction_count = reaction_count + 1 WHERE id = NEW.message_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_messages SET reaction_count = GREATEST(reaction_count - 1, 0) WHERE id = OLD.message_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_channel_member_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_channels SET member_count = member_count + 1 WHERE id = NEW.channel_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_channels SET member_count = GREATEST(member_count - 1, 0) WHERE id = OLD.channel_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_workspace_member_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_workspaces SET member_count = member_count + 1 WHERE id = NEW.workspace_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_workspaces SET member_count = GREATEST(member_count - 1, 0) WHERE id = OLD.workspace_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_workspace_channel_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE nchat_workspaces SET channel_count = channel_count + 1 WHERE id = NEW.workspace_id;
        RETURN NEW;
    END IF;
    UPDATE nchat_workspaces SET channel_count = GREATEST(channel_count - 1, 0) WHERE id = OLD.workspace_id;
    RETURN OLD;
END $$;

CREATE FUNCTION update_search_tsv() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.content_tsv := to_tsvector('english', coalesce(NEW.title, '') || ' ' || NEW.content);
    RETURN NEW;
END $$;

CREATE TRIGGER set_nchat_users_updated_at BEFORE UPDATE ON nchat_users
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_profiles_updated_at BEFORE UPDATE ON nchat_profiles
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_presence_updated_at BEFORE UPDATE ON nchat_presence
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_user_settings_updated_at BEFORE UPDATE ON nchat_user_settings
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_sessions_updated_at BEFORE UPDATE ON nchat_sessions
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_push_subscriptions_updated_at BEFORE UPDATE ON nchat_push_subscriptions
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_workspaces_updated_at BEFORE UPDATE ON nchat_workspaces
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_workspace_members_updated_at BEFORE UPDATE ON nchat_workspace_members
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_workspace_invites_updated_at BEFORE UPDATE ON nchat_workspace_invites
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_categories_updated_at BEFORE UPDATE ON nchat_categories
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_channels_updated_at BEFORE UPDATE ON nchat_channels
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_channel_members_updated_at BEFORE UPDATE ON nchat_channel_members
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_messages_updated_at BEFORE UPDATE ON nchat_messages
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_threads_updated_at BEFORE UPDATE ON nchat_threads
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_thread_members_updated_at BEFORE UPDATE ON nchat_thread_members
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_attachments_updated_at BEFORE UPDATE ON nchat_attachments
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_media_updated_at BEFORE UPDATE ON nchat_media
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_roles_updated_at BEFORE UPDATE ON nchat_roles
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_plans_updated_at BEFORE UPDATE ON nchat_plans
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_subscriptions_updated_at BEFORE UPDATE ON nchat_subscriptions
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_invoices_updated_at BEFORE UPDATE ON nchat_invoices
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_integrations_updated_at BEFORE UPDATE ON nchat_integrations
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_webhooks_updated_at BEFORE UPDATE ON nchat_webhooks
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_incoming_webhooks_updated_at BEFORE UPDATE ON nchat_incoming_webhooks
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_bots_updated_at BEFORE UPDATE ON nchat_bots
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_search_index_updated_at BEFORE UPDATE ON nchat_search_index
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER set_nchat_app_configuration_updated_at BEFORE UPDATE ON nchat_app_configuration
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER update_channel_message_count AFTER INSERT OR DELETE ON nchat_messages
    FOR EACH ROW EXECUTE FUNCTION update_channel_message_count();
CREATE TRIGGER update_thread_message_count AFTER INSERT OR DELETE ON nchat_messages
    FOR EACH ROW EXECUTE FUNCTION update_thread_message_count();
CREATE TRIGGER update_message_reaction_count AFTER INSERT OR DELETE ON nchat_reactions
    FOR EACH ROW EXECUTE FUNCTION update_message_reaction_count();
CREATE TRIGGER update_channel_member_count AFTER INSERT OR DELETE ON nchat_channel_members
    FOR EACH ROW EXECUTE FUNCTION update_channel_member_count();
CREATE TRIGGER update_workspace_member_count AFTER INSERT OR DELETE ON nchat_workspace_members
    FOR EACH ROW EXECUTE FUNCTION update_workspace_member_count();
CREATE TRIGGER update_workspace_channel_count AFTER INSERT OR DELETE ON nchat_channels
    FOR EACH ROW EXECUTE FUNCTION update_workspace_channel_count();
CREATE TRIGGER update_search_tsv BEFORE INSERT OR UPDATE ON nchat_search_index
    FOR EACH ROW EXECUTE FUNCTION update_search_tsv();
