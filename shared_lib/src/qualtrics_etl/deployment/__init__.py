"""Deployment: from a repository to what runs in a stage, by the real tools."""
