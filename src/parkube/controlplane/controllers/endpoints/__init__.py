"""Endpoints and EndpointSlices of Services, and of the API server itself."""
