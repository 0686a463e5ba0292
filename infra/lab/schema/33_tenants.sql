-- Tenants of a hosted installation; empty in the lab, there so that checks meet them.
CREATE TABLE tenants (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    name varchar(100) NOT NULL,
    slug varchar(50) NOT NULL UNIQUE,
    custom_domain varchar(255) UNIQUE,
    status varchar(20) NOT NULL DEFAULT 'active' CHECK (status IN ('trial', 'active', 'suspended', 'cancelled')),
    owner_id uuid,
    owner_email varchar(255) NOT NULL,
    owner_name varchar(100) NOT NULL,
    billing_plan varchar(20) NOT NULL DEFAULT 'free' CHECK (billing_plan IN ('free', 'pro', 'business', 'enterprise')),
    billing_interval varchar(10) NOT NULL DEFAULT 'monthly' CHECK (billing_interval IN ('monthly', 'yearly')),
    schema_name varchar(100) NOT NULL UNIQUE,
    branding jsonb NOT NULL DEFAULT '{}',
    limits jsonb NOT NULL DEFAULT '{}',
    features jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    stripe_customer_id varchar(100),
    stripe_subscription_id varchar(100),
    current_period_start timestamptz,
    current_period_end timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tenant_settings (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id uuid NOT NULL UNIQUE REFERENCES tenants (id) ON DELETE CASCADE,
    settings jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tenant_usage (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    period varchar(7) NOT NULL,
    storage_bytes bigint NOT NULL DEFAULT 0,
    message_count integer NOT NULL DEFAULT 0,
    UNIQUE (tenant_id, period)
);
CREATE TABLE tenant_domains (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    domain varchar(255) NOT NULL UNIQUE,
    verified_at timestamptz
);
CREATE TABLE tenant_audit_log (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    action varchar(50) NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
