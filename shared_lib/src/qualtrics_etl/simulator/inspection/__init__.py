"""What the simulator tells and lets change about itself, below `/_sim`: for tests, the local engine and people."""
