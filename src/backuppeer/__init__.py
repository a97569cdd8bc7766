"""BackupPeer: encrypted backups on each other's machines (see docs/ for the formats and protocols)."""

__version__ = "0.1.0"
