// Names that orient a reader of the map: name, latitude, longitude, and the zooms from which and until which it is shown.

export type Name = [name: string, latitude: number, longitude: number, from: number, until?: number]

export const CITIES: Name[] = [
  ['Amsterdam', 52.3728, 4.8936, 5, 11.4], ['Rotterdam', 51.9225, 4.4792, 6, 13], ['Den Haag', 52.0705, 4.3007, 7, 13], ['Utrecht', 52.0907, 5.1214, 6.5, 13],
  ['Eindhoven', 51.4416, 5.4697, 6.5, 13], ['Groningen', 53.2194, 6.5665, 6, 13], ['Tilburg', 51.5606, 5.0919, 8, 13], ['Almere', 52.3708, 5.2147, 8.5],
  ['Breda', 51.5719, 4.7683, 7.5, 13], ['Nijmegen', 51.8426, 5.8572, 7.5, 13], ['Arnhem', 51.9851, 5.8987, 7.5, 13], ['Haarlem', 52.3874, 4.6462, 9, 13],
  ['Enschede', 52.2215, 6.8937, 7, 13], ['Zwolle', 52.5168, 6.083, 7, 13], ['Maastricht', 50.8514, 5.691, 6.5, 13], ['Leiden', 52.1601, 4.497, 8.5, 13],
  ['Leeuwarden', 53.2012, 5.7999, 7, 13], ['Den Bosch', 51.6978, 5.3037, 8, 13], ['Middelburg', 51.4988, 3.611, 7, 13], ['Alkmaar', 52.6324, 4.7534, 8, 13],
  ['Amersfoort', 52.1561, 5.3878, 8.5, 13], ['Delft', 52.0116, 4.3571, 9.5, 13], ['Lelystad', 52.508, 5.475, 8.5], ['Apeldoorn', 52.211, 5.97, 8], ['Hoorn', 52.643, 5.06, 9], ['Zaandam', 52.442, 4.829, 10],
  ['Schiphol', 52.309, 4.764, 9.5], ['Hilversum', 52.224, 5.176, 9], ['Gouda', 52.011, 4.711, 9], ['Dordrecht', 51.813, 4.69, 8.5], ['Purmerend', 52.505, 4.955, 10], ['Amstelveen', 52.302, 4.859, 10.5],
  ['Brussel', 50.8503, 4.3517, 5], ['Antwerpen', 51.2194, 4.4025, 6.5], ['Köln', 50.9375, 6.9603, 5.5], ['London', 51.5072, -0.1276, 4.5], ['Paris', 48.8566, 2.3522, 4.5], ['Zürich', 47.3769, 8.5417, 5.5],
  ['Amsterdam', 52.3525, 4.902, 11.4, 13.5], ['Noord', 52.395, 4.925, 11.4], ['West', 52.376, 4.857, 11.4], ['Zuid', 52.346, 4.864, 11.4], ['Oost', 52.358, 4.935, 11.4], ['Zuidoost', 52.312, 4.96, 11.4],
  ['Nieuw-West', 52.36, 4.805, 11.4], ['De Pijp', 52.3565, 4.89, 13], ['Jordaan', 52.375, 4.8795, 13], ['Zeeburg', 52.371, 4.95, 12.5], ['Diemen', 52.339, 4.96, 11.8], ['Buitenveldert', 52.329, 4.876, 12.3],
]
export const WATERS: Name[] = [
  ['Noordzee', 52.6, 4.1, 6], ['IJsselmeer', 52.82, 5.25, 7.5], ['Markermeer', 52.53, 5.22, 8.5], ['Waddenzee', 53.18, 5.2, 8], ['IJ', 52.3865, 4.8935, 12.2], ['Nieuwe Maas', 51.9, 4.45, 12], ['Amstel', 52.318, 4.91, 12], ['Lek', 51.955, 4.95, 10], ['Waal', 51.88, 5.55, 9], ['IJssel', 52.3, 6.13, 9],
]
