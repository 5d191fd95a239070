declare module 'virtual:basemap' {
  const map: GeoJSON.FeatureCollection
  export default map
}
