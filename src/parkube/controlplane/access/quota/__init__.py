"""What objects use of their namespace's quotas: pure counting. Who counts when is admission's and a controller's."""
