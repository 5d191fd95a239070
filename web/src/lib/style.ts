// How the base map looks: its layers and colours (taken from the page, so light and dark follow it). Brings all data along.
import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from 'maplibre-gl'
import { islands, lakes, parks, roads, towns, waters } from './ground'

const METRES_A_PIXEL = 48_190 // at zoom 0 and 52° north; halves with each zoom
const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** A line as wide as it is on the ground, but never invisible. */
const broad: ExpressionSpecification = [
  'interpolate', ['exponential', 2], ['zoom'],
  5, ['max', 0.6, ['*', ['get', 'width'], 2 ** 5 / METRES_A_PIXEL]], 9, ['max', 0.9, ['*', ['get', 'width'], 2 ** 9 / METRES_A_PIXEL]],
  12, ['max', 1.2, ['*', ['get', 'width'], 2 ** 12 / METRES_A_PIXEL]], 17, ['*', ['get', 'width'], 2 ** 17 / METRES_A_PIXEL],
]
const round = { 'line-cap': 'round', 'line-join': 'round' } as const

/** The whole style; `parkube-tiles` in the page's head names a tile server to draw instead of the sketch. */
export async function style(): Promise<StyleSpecification> {
  const land = (await import('virtual:basemap')).default
  const tiles = document.querySelector<HTMLMetaElement>('meta[name=parkube-tiles]')?.content
  const [water, street] = [colour('--water'), colour('--road')]
  const drawn: LayerSpecification[] = [
    { id: 'towns', type: 'fill', source: 'towns', paint: { 'fill-color': colour('--town') } },
    { id: 'parks', type: 'fill', source: 'parks', paint: { 'fill-color': colour('--park') } },
    { id: 'lakes', type: 'fill', source: 'lakes', paint: { 'fill-color': water } },
    { id: 'waters', type: 'line', source: 'waters', layout: round, paint: { 'line-color': water, 'line-width': broad } },
    { id: 'islands', type: 'fill', source: 'islands', paint: { 'fill-color': colour('--land') } },
    { id: 'kerbs', type: 'line', source: 'roads', minzoom: 8, layout: round, paint: { 'line-color': colour('--border'), 'line-width': ['interpolate', ['linear'], ['zoom'], 8, 1.6, 12, 4.6, 16, 14] } },
    { id: 'roads', type: 'line', source: 'roads', minzoom: 6, layout: round, paint: { 'line-color': street, 'line-width': ['interpolate', ['linear'], ['zoom'], 6, 0.5, 8, 1, 12, 3.2, 16, 11] } },
  ]
  return {
    version: 8,
    sources: {
      land: { type: 'geojson', data: land, attribution: 'Natural Earth; water and roads sketched' },
      towns: { type: 'geojson', data: towns }, parks: { type: 'geojson', data: parks }, lakes: { type: 'geojson', data: lakes },
      waters: { type: 'geojson', data: waters }, islands: { type: 'geojson', data: islands }, roads: { type: 'geojson', data: roads },
      ...(tiles ? { tiles: { type: 'raster', tiles: [tiles], tileSize: 256, attribution: '© OpenStreetMap' } } : {}),
    },
    layers: [
      { id: 'sea', type: 'background', paint: { 'background-color': water } },
      { id: 'land', type: 'fill', source: 'land', paint: { 'fill-color': colour('--land') } },
      { id: 'border', type: 'line', source: 'land', paint: { 'line-color': colour('--border'), 'line-width': 1.2 } },
      ...(tiles ? [{ id: 'tiles', type: 'raster' as const, source: 'tiles' }] : drawn),
    ],
  }
}
