"""E-mail distributions, reminders and thank-yous: who is mailed, when, how often."""
