// A plain broadcast with the package `ws`: what is published for a view goes to every socket that asked for it, as it came.
// Arguments: the folder of the package. Prints {"http": port, "publish": port, "version": "…"} once it listens.
//
// Subscribers connect by WebSocket to /VIEW. The publisher writes to a plain TCP port: view and length, four bytes each and
// little-endian, then the bytes.
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'

const folder = process.argv[2]
const require = createRequire(join(folder, 'package.json'))
const { WebSocketServer } = require(folder)
const { version } = require(join(folder, 'package.json'))

const views = new Map()
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false, backlog: 4096 })
server.on('connection', (socket, request) => {
  const view = Number(request.url.slice(1))
  const sockets = views.get(view) ?? views.set(view, new Set()).get(view)
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  socket.on('error', () => socket.terminate())
})

const publish = createServer((socket) => {
  let rest = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk
    while (rest.length >= 8) {
      const end = 8 + rest.readUInt32LE(4)
      if (rest.length < end) return
      const payload = rest.subarray(8, end)
      for (const one of views.get(rest.readUInt32LE(0)) ?? []) one.send(payload, { binary: true })
      rest = rest.subarray(end)
    }
  })
  socket.on('error', () => socket.destroy())
})

server.on('listening', () => {
  publish.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ http: server.address().port, publish: publish.address().port, version }))
  })
})
