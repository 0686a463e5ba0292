-- Workspaces and what belongs to them: members, plans, integrations.

CREATE TABLE nchat_workspaces (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    name varchar(100) NOT NULL,
    slug varchar(100) NOT NULL UNIQUE,
    description text,
    logo_url text,
    icon_url text,
    banner_url text,
    primary_color varchar(7),
    is_public boolean,
    is_discoverable boolean,
    allow_invites boolean,
    require_approval boolean,
    default_channel_id uuid,
    features jsonb DEFAULT '{}',
    max_members integer,
    max_channels integer,
    max_storage_bytes bigint,
    member_count integer,
    channel_count integer,
    message_count integer,
    storage_used_bytes bigint,
    owner_id uuid,
    source_account_id text NOT NULL DEFAULT 'primary',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_workspace_members (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role member_role NOT NULL DEFAULT 'member',
    nickname varchar(100),
    is_owner boolean,
    is_banned boolean,
    ban_reason text,
    banned_at timestamptz,
    banned_by uuid,
    joined_at timestamptz NOT NULL DEFAULT now(),
    invited_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_workspace_invites (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    code varchar(20) NOT NULL UNIQUE,
    max_uses integer,
    uses integer,
    expires_at timestamptz,
    target_email varchar(255),
    target_role member_role DEFAULT 'member',
    created_by uuid,
    is_revoked boolean,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_categories (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    name varchar(100) NOT NULL,
    description text,
    position integer NOT NULL,
    is_collapsed boolean,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_custom_emojis (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid,
    name varchar(50) NOT NULL,
    image_url text NOT NULL,
    animated boolean,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_plans (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    name varchar(100) NOT NULL,
    slug varchar(50) NOT NULL UNIQUE,
    description text,
    price_monthly_cents integer NOT NULL,
    price_yearly_cents integer,
    currency varchar(3) DEFAULT 'USD',
    max_members integer,
    max_channels integer,
    max_storage_bytes bigint,
    max_file_size_bytes bigint,
    features jsonb DEFAULT '{}',
    is_active boolean,
    is_public boolean,
    sort_order integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_subscriptions (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    status subscription_status NOT NULL DEFAULT 'trialing',
    stripe_subscription_id varchar(100),
    stripe_customer_id varchar(100),
    trial_ends_at timestamptz,
    current_period_start timestamptz,
    current_period_end timestamptz,
    canceled_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_invoices (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    subscription_id uuid,
    stripe_invoice_id varchar(100) UNIQUE,
    amount_cents integer NOT NULL,
    tax_cents integer,
    total_cents integer NOT NULL,
    currency varchar(3) DEFAULT 'USD',
    status varchar(20) NOT NULL,
    period_start timestamptz,
    period_end timestamptz,
    due_date timestamptz,
    paid_at timestamptz,
    invoice_pdf_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_integrations (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    type varchar(50) NOT NULL,
    config jsonb DEFAULT '{}',
    credentials_encrypted text,
    is_enabled boolean,
    last_sync_at timestamptz,
    last_error text,
    error_count integer,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_webhooks (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    channel_id uuid,
    name varchar(100) NOT NULL,
    url text NOT NULL,
    secret varchar(100),
    events varchar(50) NOT NULL,
    is_enabled boolean,
    last_triggered_at timestamptz,
    last_error text,
    failure_count integer,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_incoming_webhooks (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    workspace_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    token varchar(100) NOT NULL UNIQUE,
    avatar_url text,
    username varchar(100),
    is_enabled boolean,
    last_used_at timestamptz,
    message_count integer,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE nchat_app_configuration (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    key varchar(50) NOT NULL DEFAULT 'primary' UNIQUE,
    landing_theme varchar(50),
    setup jsonb DEFAULT '{}',
    owner jsonb DEFAULT '{}',
    branding jsonb DEFAULT '{}',
    homepage jsonb DEFAULT '{}',
    auth_providers jsonb DEFAULT '{}',
    auth_permissions jsonb DEFAULT '{}',
    features jsonb DEFAULT '{}',
    integrations jsonb DEFAULT '{}',
    moderation jsonb DEFAULT '{}',
    theme jsonb DEFAULT '{}',
    seo jsonb DEFAULT '{}',
    legal jsonb DEFAULT '{}',
    social jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
