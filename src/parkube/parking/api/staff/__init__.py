"""Where staff log in through their organisation's own issuer (OpenID Connect). Under /api/v1/staff."""
