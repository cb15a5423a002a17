"""The steps: one module a kind, named like its service; `base.py` fixes the order in which a message is worked on."""
