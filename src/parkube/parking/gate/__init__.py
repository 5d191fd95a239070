"""The garage app: decides at the gate, offline first. It never imports the platform's services or adapters."""
