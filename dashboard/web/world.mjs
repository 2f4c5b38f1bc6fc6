// Makes src/pages/map/world.json out of Natural Earth's land at 1:110 million (public domain), as the npm package world-atlas
// has it (ISC): npm pack world-atlas@2.0.2, unpack it, and node world.mjs package/land-110m.json > src/pages/map/world.json
//
// The file is a list of rings; a ring is a list of numbers: longitude and latitude of its first point, then differences, all in
// hundredths of a degree. Rings are closed: the last point is the first, or Antarctica's, which goes once round the world, 360° away.
import { readFileSync } from 'node:fs';

const { arcs, transform, objects } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const points = (index) => {
  const arc = arcs[index < 0 ? ~index : index];
  let [x, y] = [0, 0];
  const out = arc.map(([dx, dy]) => {
    x += dx;
    y += dy;
    return [x * transform.scale[0] + transform.translate[0], y * transform.scale[1] + transform.translate[1]];
  });
  return index < 0 ? out.reverse() : out;
};
const polygons = objects.land.geometries.flatMap((one) => (one.type === 'Polygon' ? [one.arcs] : one.arcs));
const rings = polygons.flat().map((ring) => {
  const whole = ring.flatMap((index, at) => points(index).slice(at === 0 ? 0 : 1)).map(([lon, lat]) => [Math.round(lon * 100), Math.round(lat * 100)]);
  const flat = [];
  let before = [0, 0];
  whole.forEach((point, at) => {
    if (at > 0 && point[0] === before[0] && point[1] === before[1]) return;
    // The shorter way round the world: over the date line it goes on beyond 180°.
    const wide = point[0] - before[0];
    flat.push(at > 0 && Math.abs(wide) > 18000 ? wide - 36000 * Math.sign(wide) : wide, point[1] - before[1]);
    before = point;
  });
  return flat;
});
process.stdout.write(`${JSON.stringify(rings)}\n`);
