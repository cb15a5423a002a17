"""The command line, `qetl`: one module a command, named like the command."""
