CREATE TYPE user_status AS ENUM ('active', 'inactive', 'suspended', 'deleted');
CREATE TYPE presence_status AS ENUM ('online', 'away', 'dnd', 'offline', 'invisible');
CREATE TYPE channel_type AS ENUM ('public', 'private', 'direct', 'group', 'announcement');
CREATE TYPE message_type AS ENUM ('text', 'system', 'bot', 'file', 'voice', 'video', 'embed');
CREATE TYPE member_role AS ENUM ('owner', 'admin', 'moderator', 'member', 'guest');
CREATE TYPE notification_type AS ENUM ('message', 'mention', 'reaction', 'thread_reply', 'channel_invite', 'system');
CREATE TYPE attachment_type AS ENUM ('image', 'video', 'audio', 'document', 'archive', 'other');
CREATE TYPE subscription_status AS ENUM ('trialing', 'active', 'past_due', 'canceled', 'unpaid');
CREATE TYPE audit_action AS ENUM (
    'create', 'read', 'update', 'delete', 'login', 'logout', 'invite', 'join', 'leave', 'kick', 'ban', 'unban',
    'mute', 'unmute', 'pin', 'unpin', 'archive', 'unarchive'
);
