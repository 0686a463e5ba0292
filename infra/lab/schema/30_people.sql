-- People: accounts of the application, their settings, sessions, roles.

CREATE TABLE nchat_users (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    email varchar(255) NOT NULL UNIQUE,
    display_name varchar(100) NOT NULL,
    username varchar(50) UNIQUE,
    avatar_url text,
    status user_status NOT NULL DEFAULT 'active',
    email_verified boolean NOT NULL,
    phone varchar(20),
    phone_verified boolean,
    locale varchar(10) DEFAULT 'en',
    timezone varchar(50) DEFAULT 'UTC',
    metadata jsonb DEFAULT '{}',
    last_seen_at timestamptz,
    deleted_at timestamptz,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_profiles (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL UNIQUE,
    bio text,
    title varchar(100),
    company varchar(100),
    location varchar(100),
    website varchar(255),
    social_links jsonb DEFAULT '{}',
    pronouns varchar(50),
    banner_url text,
    theme_preference varchar(50) DEFAULT 'system',
    custom_status varchar(100),
    custom_status_emoji varchar(10),
    custom_status_expires_at timestamptz,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_presence (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL UNIQUE,
    status presence_status NOT NULL DEFAULT 'offline',
    custom_message varchar(255),
    last_heartbeat_at timestamptz DEFAULT now(),
    current_channel_id uuid,
    device_info jsonb DEFAULT '{}',
    is_mobile boolean,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_user_settings (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL UNIQUE,
    notifications_enabled boolean,
    notification_sound boolean,
    notification_desktop boolean,
    notification_mobile boolean,
    notification_email boolean,
    notification_email_frequency varchar(20) DEFAULT 'instant',
    quiet_hours_enabled boolean,
    quiet_hours_start time,
    quiet_hours_end time,
    show_online_status boolean,
    show_typing_indicator boolean,
    read_receipts boolean,
    allow_dm_from varchar(20) DEFAULT 'everyone',
    compact_mode boolean,
    theme varchar(50) DEFAULT 'system',
    font_size varchar(20) DEFAULT 'medium',
    message_density varchar(20) DEFAULT 'default',
    keyboard_shortcuts_enabled boolean,
    custom_shortcuts jsonb DEFAULT '{}',
    reduce_motion boolean,
    high_contrast boolean,
    screen_reader_mode boolean,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_sessions (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    token_hash text NOT NULL,
    refresh_token_hash text,
    user_agent text,
    ip_address inet,
    device_type varchar(20),
    device_name varchar(100),
    os varchar(50),
    browser varchar(50),
    location varchar(100),
    is_active boolean,
    last_active_at timestamptz DEFAULT now(),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_push_subscriptions (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    p256dh text NOT NULL,
    auth text NOT NULL,
    user_agent text,
    device_type varchar(20),
    is_active boolean,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_roles (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    name varchar(50) NOT NULL,
    description text,
    color varchar(7),
    icon varchar(50),
    position integer,
    is_default boolean,
    is_system boolean,
    is_mentionable boolean,
    is_hoisted boolean,
    permissions bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_permissions (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    name varchar(100) NOT NULL UNIQUE,
    description text,
    category varchar(50) NOT NULL,
    bit_position integer NOT NULL UNIQUE,
    is_dangerous boolean
);

CREATE TABLE nchat_user_roles (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    user_id uuid NOT NULL,
    role_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    granted_by uuid,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

CREATE TABLE nchat_bots (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    owner_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    username varchar(50) NOT NULL UNIQUE,
    description text,
    avatar_url text,
    token_hash text NOT NULL,
    permissions bigint,
    is_enabled boolean,
    is_verified boolean,
    is_public boolean,
    install_count integer,
    message_count integer,
    last_active_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
