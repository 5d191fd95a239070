// Builds the two pages; cuts the base map of the region out of Natural Earth (world-atlas), so that no tile server is needed.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import type { MultiPolygon, Polygon, Position } from 'geojson'
import { feature } from 'topojson-client'
import type { GeometryCollection, Topology } from 'topojson-specification'
import { defineConfig, type Plugin } from 'vite'

const REGION = { west: -6, south: 43, east: 17, north: 59 }
const OWN = 'virtual:basemap'

const inside = ([x = 0, y = 0]: Position) => x > REGION.west && x < REGION.east && y > REGION.south && y < REGION.north
const rounded = (ring: Position[]) => ring.map(([x = 0, y = 0]) => [Math.round(x * 1000) / 1000, Math.round(y * 1000) / 1000])

function basemap(): Plugin {
  return {
    name: 'basemap',
    resolveId: (id) => (id === OWN ? '\0' + OWN : null),
    load(id) {
      if (id !== '\0' + OWN) return null
      const file = createRequire(import.meta.url).resolve('world-atlas/countries-10m.json')
      const atlas = JSON.parse(readFileSync(file, 'utf8')) as Topology<{ countries: GeometryCollection<{ name: string }> }>
      const all = feature(atlas, atlas.objects.countries).features
      const cut = all.flatMap(({ geometry, properties }) => {
        const { type, coordinates } = geometry as Polygon | MultiPolygon
        const polygons = type === 'Polygon' ? [coordinates] : coordinates
        const near = polygons.filter((polygon) => polygon[0]?.some(inside)).map((polygon) => polygon.map(rounded))
        if (near.length === 0) return []
        return [{ type: 'Feature', properties: { name: properties.name }, geometry: { type: 'MultiPolygon', coordinates: near } }]
      })
      return `export default ${JSON.stringify({ type: 'FeatureCollection', features: cut })}`
    },
  }
}

export default defineConfig({
  plugins: [svelte(), basemap()],
  build: {
    target: 'es2022',
    chunkSizeWarningLimit: 1200,
    rollupOptions: { input: { driver: 'index.html', operator: 'operator.html' } },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8080' } },
})
