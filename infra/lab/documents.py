"""How rows become search documents: one query an index, one JSON document a row."""

from __future__ import annotations

MESSAGES = """
SELECT json_build_object(
    'id', m.id, 'content', m.content, 'author_id', m.user_id, 'author_name', u.display_name,
    'channel_id', m.channel_id, 'channel_name', c.name, 'thread_id', m.thread_id,
    'created_at', m.created_at, 'updated_at', m.updated_at, 'has_link', false, 'has_file', false,
    'has_image', false, 'is_pinned', coalesce(m.is_pinned, false), 'is_starred', false)
FROM nchat_messages m JOIN nchat_channels c ON c.id = m.channel_id LEFT JOIN nchat_users u ON u.id = m.user_id
WHERE m.is_deleted IS NOT TRUE
"""
USERS = """
SELECT json_build_object(
    'id', id, 'display_name', display_name, 'username', username, 'email', email,
    'is_active', status = 'active', 'created_at', created_at)
FROM nchat_users WHERE deleted_at IS NULL
"""
CHANNELS = """
SELECT json_build_object(
    'id', id, 'name', name, 'description', description, 'topic', topic, 'is_private', type = 'private',
    'is_archived', coalesce(is_archived, false), 'created_by', created_by, 'created_at', created_at)
FROM nchat_channels
"""
FILES = """
SELECT json_build_object(
    'id', id, 'name', filename, 'original_name', original_filename, 'uploader_id', user_id,
    'message_id', message_id, 'mime_type', mime_type, 'file_type', type, 'size', size_bytes,
    'url', url, 'created_at', created_at)
FROM nchat_attachments
"""
DOCUMENTS = {"messages": MESSAGES, "users": USERS, "channels": CHANNELS, "files": FILES}
"""Deleted rows are left out; a NULL in is_deleted means that the row is live."""
