"""The rows: each module measures one part of the table, in processes and folders of its own, and cleans up after."""
