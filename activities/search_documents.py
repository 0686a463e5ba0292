"""The documents of the search indexes, read from SQL: rows there are the truth, the index is a copy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Index:
    """One index with the two questions that SQL answers about it."""

    uid: str
    listing: str
    """Pages of ``id, changed, old`` after an id; ``old``: it was there at the given moment."""
    documents: str
    """The documents of given ids, each one a JSON value."""
    needed: bool = False
    """True: it is made when it is missing; the others are kept in line only where they exist."""


def _listing(table: str, changed: str, where: str = "true") -> str:
    return (
        f"SELECT t.id::text, extract(epoch FROM {changed})::float8, t.created_at < %(moment)s"  # noqa: S608 - names of ours, values bound
        f" FROM {table} t WHERE t.id > %(after)s::uuid AND {where} ORDER BY t.id LIMIT %(limit)s"
    )


# NULL in is_deleted is the column's default and means: not deleted.
_ALIVE = "t.is_deleted IS NOT TRUE"
_IN = "t.id = ANY(%(ids)s::uuid[])"

MESSAGES = Index(
    uid="messages",
    needed=True,
    listing=_listing("nchat_messages", "t.updated_at", _ALIVE),
    documents=f"""
SELECT json_build_object(
    'id', t.id, 'content', t.content, 'author_id', t.user_id, 'author_name', u.display_name,
    'channel_id', t.channel_id, 'channel_name', c.name, 'thread_id', t.thread_id,
    'created_at', t.created_at, 'updated_at', t.updated_at,
    'has_link', coalesce(t.content ~ 'https?://', false),
    'has_file', f.message_id IS NOT NULL, 'has_image', coalesce(f.image, false),
    'is_pinned', coalesce(t.is_pinned, false),
    'is_starred', EXISTS (SELECT FROM nchat_bookmarks b WHERE b.message_id = t.id))
FROM nchat_messages t
JOIN nchat_channels c ON c.id = t.channel_id
LEFT JOIN nchat_users u ON u.id = t.user_id
LEFT JOIN (SELECT message_id, bool_or(type = 'image') AS image FROM nchat_attachments
           WHERE message_id = ANY(%(ids)s::uuid[]) GROUP BY message_id) f ON f.message_id = t.id
WHERE {_IN} AND {_ALIVE}""",  # noqa: S608 - constants of this file
)
FILES = Index(
    uid="files",
    listing=_listing("nchat_attachments", "t.updated_at"),
    documents=f"""
SELECT json_build_object(
    'id', t.id, 'name', t.filename, 'original_name', t.original_filename, 'uploader_id', t.user_id,
    'uploader_name', u.display_name, 'channel_id', m.channel_id, 'message_id', t.message_id,
    'mime_type', t.mime_type, 'file_type', t.type, 'size', t.size_bytes, 'url', t.url,
    'created_at', t.created_at)
FROM nchat_attachments t
LEFT JOIN nchat_users u ON u.id = t.user_id
LEFT JOIN nchat_messages m ON m.id = t.message_id
WHERE {_IN}""",  # noqa: S608 - constants of this file
)
USERS = Index(
    uid="users",
    listing=_listing("nchat_users", "t.updated_at", "t.deleted_at IS NULL"),
    documents=f"""
SELECT json_build_object(
    'id', t.id, 'display_name', t.display_name, 'username', t.username, 'email', t.email,
    'role', (SELECT default_role FROM auth.users a WHERE a.id = t.id),
    'is_active', t.status = 'active', 'created_at', t.created_at)
FROM nchat_users t WHERE {_IN} AND t.deleted_at IS NULL""",  # noqa: S608 - constants of this file
)
CHANNELS = Index(
    uid="channels",
    listing=_listing("nchat_channels", "t.updated_at"),
    documents=f"""
SELECT json_build_object(
    'id', t.id, 'name', t.name, 'description', t.description, 'topic', t.topic,
    'is_private', t.type = 'private', 'is_archived', coalesce(t.is_archived, false),
    'created_by', t.created_by, 'created_at', t.created_at,
    'member_count', (SELECT count(*) FROM nchat_channel_members m WHERE m.channel_id = t.id))
FROM nchat_channels t WHERE {_IN}""",  # noqa: S608 - constants of this file
)

INDEXES = (MESSAGES, FILES, USERS, CHANNELS)
