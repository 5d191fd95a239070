"""The node agent's composition root: its settings and the process that runs all its parts. No policy lives here."""
