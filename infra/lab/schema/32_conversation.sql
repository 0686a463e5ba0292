-- Channels, messages, and everything that hangs on them.

CREATE TABLE nchat_channels (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    category_id uuid,
    name varchar(100) NOT NULL,
    slug varchar(100) NOT NULL,
    description text,
    topic varchar(500),
    type channel_type NOT NULL DEFAULT 'public',
    icon varchar(50),
    color varchar(7),
    position integer,
    is_default boolean,
    is_archived boolean,
    is_readonly boolean,
    is_nsfw boolean,
    slowmode_seconds integer,
    max_members integer,
    member_count integer,
    message_count integer,
    last_message_at timestamptz,
    last_message_id uuid,
    retention_days integer,
    created_by uuid,
    archived_at timestamptz,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_channel_members (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role member_role NOT NULL DEFAULT 'member',
    nickname varchar(100),
    can_read boolean,
    can_write boolean,
    can_manage boolean,
    can_invite boolean,
    can_pin boolean,
    can_delete_messages boolean,
    can_mention_everyone boolean,
    is_muted boolean,
    muted_until timestamptz,
    is_pinned boolean,
    notification_level varchar(20) DEFAULT 'all',
    last_read_message_id uuid,
    last_read_at timestamptz,
    unread_count integer,
    mention_count integer,
    joined_at timestamptz NOT NULL DEFAULT now(),
    invited_by uuid,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_messages (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    channel_id uuid NOT NULL,
    user_id uuid,
    thread_id uuid,
    parent_message_id uuid,
    content text,
    content_html text,
    content_plain text,
    type message_type NOT NULL DEFAULT 'text',
    metadata jsonb DEFAULT '{}',
    mentions uuid[] DEFAULT '{}',
    mentioned_roles varchar(50)[] DEFAULT '{}',
    mentioned_channels uuid[] DEFAULT '{}',
    embeds jsonb,
    is_edited boolean,
    is_pinned boolean,
    is_deleted boolean,
    is_system boolean,
    reaction_count integer,
    reply_count integer,
    scheduled_at timestamptz,
    published_at timestamptz,
    edited_at timestamptz,
    deleted_at timestamptz,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_threads (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    channel_id uuid NOT NULL,
    root_message_id uuid NOT NULL UNIQUE,
    name varchar(100),
    message_count integer,
    participant_count integer,
    is_locked boolean,
    is_archived boolean,
    auto_archive_duration integer,
    last_message_at timestamptz,
    last_message_id uuid,
    archived_at timestamptz,
    created_by uuid,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_thread_members (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    thread_id uuid NOT NULL,
    user_id uuid NOT NULL,
    last_read_message_id uuid,
    last_read_at timestamptz,
    unread_count integer,
    is_subscribed boolean,
    joined_at timestamptz NOT NULL DEFAULT now(),
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_reactions (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    emoji varchar(50) NOT NULL,
    emoji_id uuid,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_attachments (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    message_id uuid,
    user_id uuid NOT NULL,
    filename varchar(255) NOT NULL,
    original_filename varchar(255) NOT NULL,
    file_path text NOT NULL,
    url text NOT NULL,
    type attachment_type NOT NULL,
    mime_type varchar(100) NOT NULL,
    size_bytes bigint NOT NULL,
    width integer,
    height integer,
    duration_seconds integer,
    thumbnail_url text,
    thumbnail_width integer,
    thumbnail_height integer,
    is_processed boolean,
    processing_error text,
    blurhash varchar(100),
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_media (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    user_id uuid NOT NULL,
    filename varchar(255) NOT NULL,
    original_filename varchar(255) NOT NULL,
    file_path text NOT NULL,
    url text NOT NULL,
    type attachment_type NOT NULL,
    mime_type varchar(100) NOT NULL,
    size_bytes bigint NOT NULL,
    width integer,
    height integer,
    duration_seconds integer,
    thumbnail_url text,
    blurhash varchar(100),
    reference_count integer,
    last_accessed_at timestamptz,
    alt_text text,
    description text,
    tags varchar(50),
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_pinned_messages (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    channel_id uuid NOT NULL,
    message_id uuid NOT NULL,
    pinned_by uuid NOT NULL,
    pinned_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_bookmarks (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    message_id uuid,
    channel_id uuid,
    note text,
    folder varchar(100),
    tags varchar(50),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_notifications (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    type notification_type NOT NULL,
    channel_id uuid,
    message_id uuid,
    thread_id uuid,
    actor_id uuid,
    title varchar(255) NOT NULL,
    body text,
    data jsonb DEFAULT '{}',
    action_url text,
    is_read boolean,
    read_at timestamptz,
    is_seen boolean,
    seen_at timestamptz,
    push_sent boolean,
    push_sent_at timestamptz,
    email_sent boolean,
    email_sent_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_audit_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    user_id uuid,
    action audit_action NOT NULL,
    entity_type varchar(50) NOT NULL,
    entity_id uuid,
    channel_id uuid,
    target_user_id uuid,
    old_values jsonb,
    new_values jsonb,
    metadata jsonb DEFAULT '{}',
    ip_address inet,
    user_agent text,
    request_id varchar(36),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_search_index (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    entity_type varchar(50) NOT NULL,
    entity_id uuid NOT NULL,
    workspace_id uuid,
    channel_id uuid,
    user_id uuid,
    title text,
    content text NOT NULL,
    content_tsv tsvector,
    metadata jsonb DEFAULT '{}',
    indexed_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_search_history (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    query text NOT NULL,
    result_count integer NOT NULL DEFAULT 0,
    filters jsonb,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now()
);
