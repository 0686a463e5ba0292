-- The rows that the application's own migrations bring.
INSERT INTO nchat_permissions (name, description, category, bit_position, is_dangerous)
SELECT name, initcap(replace(name, '_', ' ')), category, (ordinality - 1)::int, dangerous
FROM unnest(
    ARRAY['view_channels', 'send_messages', 'read_history', 'add_reactions', 'attach_files', 'embed_links',
          'mention_everyone', 'use_external_emojis', 'create_threads', 'send_in_threads', 'manage_messages',
          'manage_threads', 'manage_channels', 'manage_roles', 'manage_webhooks', 'manage_emojis', 'manage_workspace',
          'create_invites', 'kick_members', 'ban_members', 'mute_members', 'change_nickname', 'view_audit_log',
          'administrator'],
    ARRAY['general', 'text', 'text', 'text', 'text', 'text', 'text', 'text', 'text', 'text', 'moderation',
          'moderation', 'admin', 'admin', 'admin', 'admin', 'admin', 'general', 'moderation', 'moderation',
          'moderation', 'general', 'admin', 'admin'],
    ARRAY[false, false, false, false, false, false, true, false, false, false, true, true, true, true, true, false,
          true, false, true, true, false, false, false, true]
) WITH ORDINALITY AS rows (name, category, dangerous, ordinality);

INSERT INTO nchat_plans (id, name, slug, price_monthly_cents, price_yearly_cents, max_members, is_active, is_public, sort_order)
VALUES ('00000000-0000-0000-0000-000000000001', 'Free', 'free', 0, 0, 10, true, true, 1),
       ('00000000-0000-0000-0000-000000000002', 'Pro', 'pro', 800, 8000, 100, true, true, 2),
       ('00000000-0000-0000-0000-000000000003', 'Business', 'business', 1500, 15000, 1000, true, true, 3),
       ('00000000-0000-0000-0000-000000000004', 'Enterprise', 'enterprise', 4000, 40000, NULL, true, false, 4);

INSERT INTO nchat_app_configuration (key, landing_theme) VALUES ('primary', 'default');

-- The demo accounts. Their password is set when a lab starts, so none is written down here.
WITH demo (id, name) AS (
    VALUES ('2299117e-0b78-4133-8f2f-4879e682f3b5'::uuid, 'owner'),
           ('a2c78c45-b4e1-46b1-afc5-db5688a0326c', 'admin'),
           ('6bc63e34-6df2-42f1-8f53-dc58c0411dcf', 'mod'),
           ('b6c1df08-6520-4b07-b961-213f056e62b9', 'support'),
           ('2b07f26f-f6f8-4a0b-ac79-45392cc5067f', 'helper'),
           ('e758aded-8607-4c71-8d7e-a6dcb1c18c7f', 'user')
), accounts AS (
    INSERT INTO auth.users (id, email, display_name, locale, email_verified)
    SELECT id, name || '@nself.org', initcap(name), 'en', true FROM demo
    RETURNING id
), granted AS (
    INSERT INTO auth.user_roles (user_id, role)
    SELECT id, role FROM accounts CROSS JOIN unnest(ARRAY['user', 'me']) AS role
)
INSERT INTO nchat_users (id, email, display_name, username, email_verified)
SELECT id, name || '@nself.org', initcap(name), name, true FROM demo;

INSERT INTO nchat_channels (id, name, slug, type, is_default, created_by)
VALUES ('11111111-1111-1111-1111-111111111111', 'general', 'general', 'public', true, '2299117e-0b78-4133-8f2f-4879e682f3b5'),
       ('22222222-2222-2222-2222-222222222222', 'random', 'random', 'public', false, '2299117e-0b78-4133-8f2f-4879e682f3b5'),
       ('33333333-3333-3333-3333-333333333333', 'announcements', 'announcements', 'announcement', false, '2299117e-0b78-4133-8f2f-4879e682f3b5');

INSERT INTO nchat_channel_members (channel_id, user_id, role, can_read, can_write)
SELECT c.id, u.id, (CASE u.username WHEN 'owner' THEN 'owner' WHEN 'admin' THEN 'admin' ELSE 'member' END)::member_role, true, true
FROM nchat_channels c CROSS JOIN nchat_users u;

INSERT INTO nchat_messages (id, channel_id, user_id, content, content_plain)
VALUES ('aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa', '11111111-1111-1111-1111-111111111111', '2299117e-0b78-4133-8f2f-4879e682f3b5', 'Welcome to the team chat.', 'Welcome to the team chat.'),
       ('bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb', '22222222-2222-2222-2222-222222222222', 'e758aded-8607-4c71-8d7e-a6dcb1c18c7f', 'Coffee, anyone?', 'Coffee, anyone?'),
       ('cccccccc-cccc-cccc-cccc-cccccccccccc', '33333333-3333-3333-3333-333333333333', 'a2c78c45-b4e1-46b1-afc5-db5688a0326c', 'Maintenance on Sunday at ten.', 'Maintenance on Sunday at ten.');
