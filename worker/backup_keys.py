"""Where the keys of backups lie under the state directory, for those who make and confirm them."""

from activities.backup_keys import BackupKeys

__all__ = ["BackupKeys"]
