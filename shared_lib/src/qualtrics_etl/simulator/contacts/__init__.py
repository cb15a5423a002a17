"""Contacts: one at a time into a mailing list, in pages out of it, and by search in the directory."""
