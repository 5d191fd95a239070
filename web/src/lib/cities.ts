// Cities that orient a reader of the map: name, latitude, longitude, the zoom from which they are named.
export const CITIES: [string, number, number, number][] = [
  ['Amsterdam', 52.3728, 4.8936, 5], ['Rotterdam', 51.9225, 4.4792, 6], ['Den Haag', 52.0705, 4.3007, 7], ['Utrecht', 52.0907, 5.1214, 6.5],
  ['Eindhoven', 51.4416, 5.4697, 6.5], ['Groningen', 53.2194, 6.5665, 6], ['Tilburg', 51.5606, 5.0919, 8], ['Almere', 52.3508, 5.2647, 8.5],
  ['Breda', 51.5719, 4.7683, 7.5], ['Nijmegen', 51.8126, 5.8372, 7.5], ['Arnhem', 51.9851, 5.8987, 7.5], ['Haarlem', 52.3874, 4.6462, 8.5],
  ['Enschede', 52.2215, 6.8937, 7], ['Zwolle', 52.5168, 6.083, 7], ['Maastricht', 50.8514, 5.691, 6.5], ['Leiden', 52.1601, 4.497, 8.5],
  ['Leeuwarden', 53.2012, 5.7999, 7], ['Den Bosch', 51.6978, 5.3037, 8], ['Middelburg', 51.4988, 3.611, 7], ['Alkmaar', 52.6324, 4.7534, 8],
  ['Amersfoort', 52.1561, 5.3878, 8.5], ['Delft', 52.0116, 4.3571, 9.5], ['Brussel', 50.8503, 4.3517, 5], ['Antwerpen', 51.2194, 4.4025, 6.5],
  ['Köln', 50.9375, 6.9603, 5.5], ['London', 51.5072, -0.1276, 4.5], ['Paris', 48.8566, 2.3522, 4.5], ['Zürich', 47.3769, 8.5417, 5.5],
]
