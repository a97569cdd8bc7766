"""Every cryptographic primitive we use; the only importer of cryptographic libraries."""
