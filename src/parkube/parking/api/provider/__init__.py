"""What payment providers call: their webhooks. Under /api/v1/provider."""
