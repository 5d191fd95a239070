"""What partners that sell bookings on call, by their API key: garages, quotes, bookings. Under /api/v1/partner."""
