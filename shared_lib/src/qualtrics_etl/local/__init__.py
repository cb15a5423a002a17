"""The same workflow on one machine: queues, objects, secrets and time behind the ports that AWS also implements."""
